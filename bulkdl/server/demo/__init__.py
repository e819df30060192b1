"""The demonstration archive: sample files of installed packages, and phantoms generated on this machine."""
