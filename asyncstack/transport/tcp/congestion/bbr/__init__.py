"""BBR version 3, a file for each idea; `control` has the class."""
