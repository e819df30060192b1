"""How verbs are called: the options in their signatures, their blocking twins, and how they announce their progress."""
