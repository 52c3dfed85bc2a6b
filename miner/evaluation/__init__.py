"""How good a reconstruction is, in numbers (`metrics`) and in pictures (`figures`)."""
