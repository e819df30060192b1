"""The nouns: frozen values and enums. No I/O, no clock, no library but the standard one."""
