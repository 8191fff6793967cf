"""ZooKeeper's wire format once more, on plain sockets: written from the protocol, sharing nothing with zkproto/.

Requests are built as bytes; replies come back as plain tuples. Also used by tests/crash.
"""
import socket
import struct
import time

(CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, GET_ACL, SET_ACL, GET_CHILDREN, SYNC, PING, GET_CHILDREN2, CHECK, MULTI,
 CREATE2, RECONFIG, CHECK_WATCHES, REMOVE_WATCHES, CREATE_CONTAINER, DELETE_CONTAINER, CREATE_TTL,
 MULTI_READ) = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22)
AUTH, SET_WATCHES, SASL, GET_EPHEMERALS, ALL_CHILDREN_NUMBER, SET_WATCHES2, ADD_WATCH, WHO_AM_I = range(100, 108)
CREATE_SESSION, CLOSE_SESSION, ERROR = -10, -11, -1

NAMES = {v: k.lower() for k, v in list(globals().items()) if k.isupper() and isinstance(v, int)}

XID_EVENT, XID_PING, XID_AUTH, XID_SET_WATCHES = -1, -2, -4, -8
WORLD = [(31, "world", "anyone")]

_int, _long = struct.Struct(">i"), struct.Struct(">q")
_header = struct.Struct(">iqi")
_stat = struct.Struct(">qqqqiiiqiiq")


# ---- writing ------------------------------------------------------------------------------------
def int32(v):
    return _int.pack(v)


def int64(v):
    return _long.pack(v)


def boolean(v):
    return b"\x01" if v else b"\x00"


def buffer(v):
    return b"\xff\xff\xff\xff" if v is None else _int.pack(len(v)) + v


def text(v):
    return buffer(v if v is None or isinstance(v, bytes) else v.encode("utf-8", "surrogatepass"))


def vector(items, one=text):
    return b"\xff\xff\xff\xff" if items is None else _int.pack(len(items)) + b"".join(one(i) for i in items)


def acl_entry(entry):
    perms, scheme, ident = entry
    return int32(perms) + text(scheme) + text(ident)


def acls(entries):
    return vector(entries, acl_entry)


def request(xid, opcode, body=b""):
    return _int.pack(xid) + _int.pack(opcode) + body


def frame(payload):
    return _int.pack(len(payload)) + payload


def connect_request(timeout=10000, session=0, password=b"\0" * 16, last_zxid=0, version=0, read_only=False):
    payload = int32(version) + int64(last_zxid) + int32(timeout) + int64(session) + buffer(password)
    return payload if read_only is None else payload + boolean(read_only)


def multi(ops):
    """ops: (opcode, body). The body of a multi request."""
    out = b"".join(int32(code) + boolean(False) + int32(-1) + body for code, body in ops)
    return out + int32(-1) + boolean(True) + int32(-1)


def create_body(path, data, acl, flags):
    return text(path) + buffer(data) + acls(acl) + int32(flags)


# ---- reading ------------------------------------------------------------------------------------
class Malformed(Exception):
    """What came cannot be read as what it should be."""


class Reader:
    def __init__(self, data, at=0):
        self.data = data
        self.at = at

    def take(self, n):
        if n < 0 or self.at + n > len(self.data):
            raise Malformed(f"{n} bytes wanted at {self.at} of {len(self.data)}")
        self.at += n
        return self.data[self.at - n:self.at]

    def int32(self):
        return _int.unpack(self.take(4))[0]

    def int64(self):
        return _long.unpack(self.take(8))[0]

    def boolean(self):
        return self.take(1) != b"\0"

    def buffer(self):
        n = self.int32()
        return None if n == -1 else self.take(n)

    def text(self):
        b = self.buffer()
        return None if b is None else b.decode("utf-8", "backslashreplace")

    def vector(self, one):
        n = self.int32()
        if n == -1:
            return None
        if n < 0 or n > len(self.data):
            raise Malformed(f"vector of {n}")
        return [one() for _ in range(n)]

    def stat(self):
        """(czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, length, children, pzxid)"""
        return _stat.unpack(self.take(_stat.size))

    def acl(self):
        return (self.int32(), self.text(), self.text())

    def multi(self):
        out = []
        while True:
            code, done, err = self.int32(), self.boolean(), self.int32()
            if done:
                if (code, err) != (-1, -1):
                    out.append(("end", code, err))
                return out
            if code == ERROR:
                out.append(("error", err, self.int32()))
            else:
                out.append((NAMES.get(code, code), err) + self.body(code))

    def body(self, code):
        """The reply body of an opcode as a tuple; a Stat comes as ("stat", ...)."""
        if code == CREATE:
            return (self.text(),)
        if code in (CREATE2, CREATE_CONTAINER, CREATE_TTL):
            return (self.text(), ("stat",) + self.stat())
        if code in (EXISTS, SET_DATA, SET_ACL):
            return (("stat",) + self.stat(),)
        if code in (GET_DATA, RECONFIG):
            return (self.buffer(), ("stat",) + self.stat())
        if code == GET_ACL:
            return (self.vector(self.acl), ("stat",) + self.stat())
        if code == GET_CHILDREN:
            return (sorted(self.vector(self.text)),)
        if code == GET_CHILDREN2:
            return (sorted(self.vector(self.text)), ("stat",) + self.stat())
        if code == SYNC:
            return (self.text(),)
        if code in (MULTI, MULTI_READ):
            return (self.multi(),)
        if code == GET_EPHEMERALS:
            return (sorted(self.vector(self.text)),)
        if code == ALL_CHILDREN_NUMBER:
            return (self.int32(),)
        if code == ADD_WATCH:
            return (self.int32(),)
        if code == SASL:
            return (self.buffer(),)
        if code == WHO_AM_I:
            return (sorted(self.vector(lambda: (self.text(), self.text()))),)
        return ()


def decode_event(data):
    r = Reader(data, 16)
    event = ("event", r.int32(), r.int32(), r.text())
    if r.at != len(data):
        raise Malformed("bytes after an event")
    return event


class Closed(Exception):
    """The server closed the connection."""


class Silence(Exception):
    """Nothing came in time."""


class Connection:
    """One socket: whole frames out and in."""

    def __init__(self, port, seconds=10.0):
        self.sock = socket.create_connection(("127.0.0.1", port), seconds)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.seconds = seconds
        self.pending = b""
        self.at = 0

    def send(self, raw):
        try:
            self.sock.sendall(raw)
        except OSError as e:
            raise Closed(str(e)) from None

    def receive(self, seconds=None):
        """The payload of the next frame."""
        end = time.monotonic() + (self.seconds if seconds is None else seconds)
        while True:
            have = len(self.pending) - self.at
            if have >= 4:
                n = _int.unpack_from(self.pending, self.at)[0]
                if n < 0 or n > 64 << 20:
                    raise Malformed(f"frame of {n} bytes")
                if have >= 4 + n:
                    self.at += 4 + n
                    return self.pending[self.at - n:self.at]
            left = end - time.monotonic()
            if left <= 0:
                raise Silence()
            self.sock.settimeout(left)
            try:
                part = self.sock.recv(1 << 18)
            except socket.timeout:
                raise Silence() from None
            except OSError as e:
                raise Closed(str(e)) from None
            if not part:
                raise Closed("end of stream")
            self.pending = self.pending[self.at:] + part
            self.at = 0

    def close(self):
        self.sock.close()


def header(payload):
    """(xid, zxid, err) of a reply."""
    if len(payload) < 16:
        raise Malformed(f"reply of {len(payload)} bytes")
    return _header.unpack_from(payload)


def decode_connect(payload):
    """(version, timeout, session, password, read_only or None)"""
    r = Reader(payload)
    out = (r.int32(), r.int32(), r.int64(), r.buffer())
    read_only = r.boolean() if r.at < len(payload) else None
    if r.at != len(payload):
        raise Malformed("bytes after a connect reply")
    return out + (read_only,)
