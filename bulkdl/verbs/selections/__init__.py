"""What is selected by a name alone: a data set, or an instance, for which an archive is asked where it belongs."""
