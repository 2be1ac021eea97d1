"""Pickles read as data: an interpreter of their opcodes in which every class and function is a stand-in."""
