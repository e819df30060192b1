"""Mirrors as verbs find and change them: the folder, the files and their names, and views of them."""
