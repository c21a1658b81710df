"""The runbooks, one for each recovery procedure of the operators' document and catalogue row."""
