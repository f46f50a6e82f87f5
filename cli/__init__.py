"""The command `lef`: parse, call the library, print what it returns."""
