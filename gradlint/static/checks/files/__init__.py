"""Rules about files: what is said to gradlint in them."""
