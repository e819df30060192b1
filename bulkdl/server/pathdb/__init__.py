"""The API of PathDB, for the slides that are served."""
