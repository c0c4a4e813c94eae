"""What an experiment found, as a page and in a terminal."""
