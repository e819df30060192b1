"""The mirror on disk: its layout, its files, and how they are written safely. The only writer in a mirror's folder."""
