"""What a compression or an extension found, as a page and in a terminal."""
