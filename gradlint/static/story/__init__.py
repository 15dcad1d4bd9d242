"""The story of `gradlint events`: what was understood, beside the lines."""
