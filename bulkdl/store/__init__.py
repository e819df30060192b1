"""The mirror on disk: where things lie and how they get there safely. The one writer below a mirror's folder."""
