"""Facts about a file that several checks ask for: windows, counts, how often things happen."""
