"""Pages for people: what is served, with pictures, to be searched and downloaded in a browser."""
