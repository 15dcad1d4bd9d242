"""Sources: which files there are, what they say, what other packages mean, and what is kept of an earlier run."""
