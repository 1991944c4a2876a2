"""Is a gradient wrong? How far right code may be off, and who is to blame where it is further."""
