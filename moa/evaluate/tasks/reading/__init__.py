"""What a reply says, read without a model: a number, a formula, an option, a literal, words.

Every reader takes the text of a reply and gives what it says, or None where it does not say it; none of them raises
for any text, and none evaluates anything.
"""
