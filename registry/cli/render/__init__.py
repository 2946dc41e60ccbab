"""Text for people: one function per answer, each giving something that rich can print.

Reads well at 80 columns, without colour and in a pipe; draws no boxes.
"""
