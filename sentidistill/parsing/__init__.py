"""Pure parsers of teacher output. They never raise; what cannot be read is left out."""

from sentidistill.parsing.attributes import Attribute, parse_attributes

__all__ = ["Attribute", "parse_attributes"]
