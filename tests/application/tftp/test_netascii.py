from hypothesis import given
from hypothesis import strategies as st

from asyncstack.application.tftp.netascii import Decoder, encode


def test_lines():
    assert encode(b"a\nb\rc\r\n") == b"a\r\nb\r\0c\r\0\r\n"


@given(st.lists(st.text("a\r\n", max_size=5).map(str.encode), max_size=5), st.integers(1, 7))
def test_there_and_back_wherever_it_is_cut(pieces, step):
    sent = b"".join(map(encode, pieces))
    decoder = Decoder()
    heard = b"".join(decoder.decode(sent[at : at + step]) for at in range(0, len(sent), step))
    assert heard == b"".join(pieces)
