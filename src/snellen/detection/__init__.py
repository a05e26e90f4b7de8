"""Objects in pictures: what detecting them, cutting them out and reading their pose share."""
