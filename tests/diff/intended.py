"""Every difference from ZooKeeper 3.8.0 that we mean: its name, the reason, and what recognises it.

RULES look at one answer: (op, reference's items, our items, word) -> True when this rule explains the difference.
NOT_SENT lists what the tester never sends to the reference, because it would harm it or undo the comparison;
PROBES send that to our server alone. docs/differences.md tells the same to people; `check_docs` keeps them together.
"""
import os
import re

import wire

# An answer in the stream: ("reply", xid, zxid, err, body).
def multiread_body(op, reference, ours):
    if op[0] != "req" or op[1] != wire.MULTI_READ or len(reference) != 1 or len(ours) != 1:
        return False
    return reference[0][:4] == ours[0][:4] and reference[0][3] == -5 and ours[0][4] == ()


def sasl_null_token(op, reference, ours):
    return op[0] == "req" and op[1] == wire.SASL and op[2] == wire.buffer(None) and reference == [("closed",)] and (
        len(ours) == 1 and ours[0][0] == "reply")


def no_utf8(op, reference, ours):
    """The same but for replacement characters here, and the bytes that came (shown as \\xNN) there."""
    def plain(value):
        if isinstance(value, str):
            return re.sub(r"(\\x[0-9a-f]{2}|\ufffd)+", "?", value)
        if isinstance(value, (list, tuple)):
            return type(value)(plain(v) for v in value)
        return value
    return reference != ours and plain(reference) == plain(ours) and "\ufffd" in repr(reference)


def beyond_bmp(op, reference, ours):
    """The reference's two surrogates, each written like a character of its own, where ours has the character."""
    def joined(value):
        if isinstance(value, str) and "\\xed" in value:
            raw = value.encode("utf-8").decode("unicode_escape").encode("latin-1", "ignore")
            return raw.decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if isinstance(value, (list, tuple)):
            return type(value)(joined(v) for v in value)
        return value
    return reference != ours and joined(reference) == ours


def check_others(op, reference, ours):
    return op[0] == "req" and op[1] == wire.CHECK_WATCHES and len(reference) == len(ours) == 1 and (
        reference[0][:3] == ours[0][:3] and reference[0][3] in (0, -5) and ours[0][3] == -121)


RULES = {
    "check-others": ("The reference's checkWatches finds a watch when any session watches the path, and fails on a "
                     "path without a slash while there is a recursive watch; ours asks for the session's own.", check_others),
    "beyond-bmp": ("A path with a character beyond the BMP cannot exist, but comes back in events and answers of sync. The "
                   "reference writes it as two surrogates, which is no UTF-8; ours as it was sent.", beyond_bmp),
    "sasl-null-token": ("A SASL request with a null token makes the reference close the connection (a null pointer "
                        "inside); ours answers it like any other token.", sasl_null_token),
    "no-utf8": ("A path that is no UTF-8 cannot exist, but comes back in events and answers of sync: from the reference "
                "with replacement characters, from ours as the bytes that were sent.", no_utf8),
    "multiread-body": ("A multiRead that cannot be carried out (a null path) gets -5; the reference appends what it had "
                       "read until then, which no client can read. Ours sends the header alone, like every error.",
                       multiread_body),
}

NOT_SENT = {
    "bare-check": "A `check` outside a multi: the reference logs it, gives no reply and never starts again. Ours answers.",
    "spoiled-reconfig": "A reconfig that cannot be decoded, sent to a follower, is never answered by the reference, nor is "
                        "anything behind it on that connection. Ours answers -5.",
    "multi-null-path": "A multi with a null path, sent to a follower, is never answered by the reference either. Ours "
                       "answers -5.",
    "persistent-cancelled": "In the reference a one-shot watch that fires takes the same session's persistent watch on "
                            "that path with it (ZOOKEEPER-4466). Ours keeps it. No session sets both kinds here.",
    "watch-types": "Types 4 and 5 of removeWatches and checkWatches (a persistent watch, a recursive one) came with 3.9; "
                   "the reference answers -5. Ours knows them.",
    "delete-container": "deleteContainer is internal; the reference lets any client delete any node with it. Ours refuses.",
}


def bare_check(send):
    """send(opcode, body) -> (err, body) or None when the connection was closed."""
    send(wire.CREATE, wire.create_body("/probe-check", b"", wire.WORLD, 0))
    right = send(wire.CHECK, wire.text("/probe-check") + wire.int32(0))
    if right is None:
        return "closed the connection instead of answering"
    return None if right[0] in (0, -6, -5) else f"error {right[0]} for a bare check"


def delete_container(send):
    send(wire.CREATE, wire.create_body("/probe-plain", b"", wire.WORLD, 0))
    refused = send(wire.DELETE_CONTAINER, wire.text("/probe-plain"))
    if refused is not None and refused[0] == 0:
        return "accepted deleteContainer from a client"
    there = send(wire.EXISTS, wire.text("/probe-plain") + b"\0")
    return None if there is not None and there[0] == 0 else "a plain node went by deleteContainer"


def spoiled_reconfig(send):
    answer = send(wire.RECONFIG, wire.text("") + b"\0\0")
    if answer is None:
        return "no answer to a reconfig cut short"
    return None if answer[0] in (-5, -6, -123) else f"error {answer[0]} for a reconfig cut short"


def multi_null_path(send):
    answer = send(wire.MULTI, wire.multi([(wire.DELETE, wire.text(None) + wire.int32(-1))]))
    if answer is None:
        return "no answer to a multi with a null path"
    return None if answer[0] != -4 else "connection loss as an answer"


def watch_types(send):
    for mode, kind in ((0, 4), (1, 5)):
        path = wire.text(f"/probe-watch-{kind}")
        send(wire.ADD_WATCH, path + wire.int32(mode))
        answers = [send(code, path + wire.int32(k)) for code, k in (
            (wire.CHECK_WATCHES, kind), (wire.CHECK_WATCHES, 9 - kind), (wire.REMOVE_WATCHES, 9 - kind),
            (wire.REMOVE_WATCHES, kind), (wire.REMOVE_WATCHES, 3))]
        errors = [a and a[0] for a in answers]
        if errors != [0, -121, -121, 0, -121]:
            return f"errors {errors} for type {kind}"
    return None


PROBES = {"watch-types": watch_types, "bare-check": bare_check, "delete-container": delete_container, "spoiled-reconfig": spoiled_reconfig,
          "multi-null-path": multi_null_path}


def explain(op, reference, ours):
    """The name of the rule that explains this difference, or None."""
    for name, (_, recognise) in RULES.items():
        if recognise(op, reference, ours):
            return name
    return None


def check_docs(root):
    """Names that docs/differences.md does not mention."""
    with open(os.path.join(root, "docs", "differences.md")) as f:
        text = f.read()
    return [name for name in list(RULES) + list(NOT_SENT) if f"`{name}`" not in text]
