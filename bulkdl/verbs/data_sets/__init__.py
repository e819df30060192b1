"""The data sets that there are: what archives and services know of them, and their last answers."""
