"""Values across the boundary, part of _forwarder.pyx: Python to C and back, every one checked.

A ValueError names the argument and what it may be. IPv4 stands v4-mapped in C.
"""

# Few distinct addresses come by, again and again: parse each once. Emptied when full, so that a
# flood of sources cannot grow them.
cdef dict _packed = {}
cdef dict _shown = {}
cdef enum:
    CACHE = 8192


cdef int _pack(str text, uint8_t *out) except -1:
    """Writes 16 bytes; ValueError for what is no numeric address."""
    cdef bytes raw = _packed.get(text)
    if raw is None:
        raw = ipaddress.ip_address(text).packed
        if len(raw) == 4:
            raw = b"\0" * 10 + b"\xff\xff" + raw
        if len(_packed) >= CACHE:
            _packed.clear()
        _packed[text] = raw
    memcpy(out, <const uint8_t *>raw, 16)
    return 0


cdef str _show(const uint8_t *raw):
    cdef bytes key = raw[:16]
    cdef str text = _shown.get(key)
    if text is None:
        if key.startswith(b"\0" * 10 + b"\xff\xff"):
            text = str(ipaddress.IPv4Address(key[12:]))
        else:
            text = str(ipaddress.IPv6Address(key))
        if len(_shown) >= CACHE:
            _shown.clear()
        _shown[key] = text
    return text


cdef int _to_path(object path, rf_path *out) except -1:
    cdef str host
    host, port = path.remote
    memset(out, 0, sizeof(rf_path))
    _pack(host, out.remote_ip)
    _pack(path.local, out.local_ip)
    out.remote_port = _integer("port", port, 1, 65535)
    out.connection = <uint32_t>_integer("connection", path.connection, 0, 0xFFFFFFFF)
    return 0


cdef object _from_path(const rf_path *path):
    cdef tuple remote = (_show(path.remote_ip), path.remote_port)
    return _api.Path(remote, _show(path.local_ip), path.connection)


cdef uint64_t _integer(str name, object value, uint64_t low, uint64_t high) except? 0:
    """`value` if it is an integer in range, else ValueError that names it."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name}: an integer from {low} to {high}, not {value!r}")
    return <uint64_t>value


cdef uint8_t _optional_pt(str name, object value) except? 0:
    return RF_NO_PT if value is None else <uint8_t>_integer(name, value, 0, 127)


cdef bytes _string(str name, object value, size_t limit):
    """UTF-8, without NUL."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{name}: a string, not {value!r}")
    cdef bytes raw = value.encode()
    if len(raw) > <Py_ssize_t>limit:
        raise ValueError(f"{name}: at most {limit} bytes, not {len(raw)}")
    return raw


cdef int _kind(str name, object value, set seen) except -1:
    cdef int kind = <int>_integer(name, value, 0, 1)
    if kind in seen:
        raise ValueError(f"{name}: two tracks of kind {_KIND_OF[kind].name}")
    seen.add(kind)
    return kind


cdef int _to_layers(str where, int kind, list rids, rf_pub_track *t) except -1:
    cdef bytes rid
    if len(rids) > RF_LAYERS or len(set(rids)) != len(rids):
        raise ValueError(f"{where}.rids: at most {RF_LAYERS}, each once, not {rids!r}")
    if rids and kind != RF_VIDEO:
        raise ValueError(f"{where}.rids: only video has layers")
    t.layers = <uint8_t>len(rids)
    for i, name in enumerate(rids):
        rid = _string(f"{where}.rids[{i}]", name, sizeof(t.rid[0].id))
        t.rid[<int>i].len = <uint8_t>len(rid)
        memcpy(t.rid[<int>i].id, <const char *>rid, len(rid))
    return 0


cdef int _to_parameters(str where, object sets, rf_pub_track *t) except -1:
    cdef bytes raw = b"".join(len(nal).to_bytes(2) + nal for nal in sets)
    if len(raw) > RF_MAX_PARAMETERS:
        raise ValueError(f"{where}.parameter_sets: over {RF_MAX_PARAMETERS} bytes")
    t.parameters_len = <uint16_t>len(raw)
    memcpy(t.parameters, <const char *>raw, len(raw))
    return 0


cdef int _to_pub_track(object track, rf_pub_track *t) except -1:
    cdef str where = f"tracks[{_KIND_OF[int(track.kind)].name}]"
    cdef bytes mid = _string(f"{where}.mid", track.mid, sizeof(t.mid))
    formats, ssrcs, rtx = list(track.formats), list(track.ssrcs), list(track.rtx_ssrcs)
    if not 1 <= len(formats) <= RF_MAX_FORMATS:
        raise ValueError(f"{where}.formats: 1 to {RF_MAX_FORMATS}, not {len(formats)}")
    if len(ssrcs) > 4:
        raise ValueError(f"{where}.ssrcs: at most 4, not {len(ssrcs)}")
    if len(rtx) > len(ssrcs):
        raise ValueError(f"{where}.rtx_ssrcs: more than ssrcs")
    t.present = 1
    t.nack, t.pli = bool(track.nack), bool(track.pli)
    t.fir, t.remb = bool(track.fir), bool(track.remb)
    t.clock_rate = <uint32_t>_integer(f"{where}.clock_rate", track.clock_rate, 1, 0xFFFFFFFF)
    t.mid_len = <uint8_t>len(mid)
    memcpy(t.mid, <const char *>mid, len(mid))
    t.ssrc_count = <uint8_t>len(ssrcs)
    for i, ssrc in enumerate(ssrcs):
        t.ssrc[<int>i] = <uint32_t>_integer(f"{where}.ssrcs[{i}]", ssrc, 0, 0xFFFFFFFF)
    for i, ssrc in enumerate(rtx):
        t.rtx_ssrc[<int>i] = <uint32_t>_integer(f"{where}.rtx_ssrcs[{i}]", ssrc, 0, 0xFFFFFFFF)
    _to_layers(where, int(track.kind), list(track.rids), t)
    _to_parameters(where, track.parameter_sets, t)
    t.format_count = <uint8_t>len(formats)
    seen = set()
    for i, fmt in enumerate(formats):
        name = f"{where}.formats[{i}]"
        if fmt.codec not in _CODECS:
            raise ValueError(f"{name}.codec: {fmt.codec!r} is no Codec")
        for pt in (fmt.pt, fmt.rtx_pt):
            if pt is not None and pt in seen:
                raise ValueError(f"{name}: payload type {pt} twice")
            seen.add(pt)
        t.format[<int>i].pt = <uint8_t>_integer(f"{name}.pt", fmt.pt, 0, 127)
        t.format[<int>i].codec = <uint8_t>int(fmt.codec)
        t.format[<int>i].format = <uint8_t>_integer(
            f"{name}.format", fmt.format, 0, RF_MAX_FORMATS - 1
        )
        t.format[<int>i].rtx_pt = _optional_pt(f"{name}.rtx_pt", fmt.rtx_pt)
    return 0


cdef int _to_publication(object publication, rf_publication *p) except -1:
    memset(p, 0, sizeof(rf_publication))
    seen = set()
    for i, track in enumerate(publication.tracks):
        kind = _kind(f"tracks[{i}].kind", track.kind, seen)
        _to_pub_track(track, &p.track[<int>kind])
    for number, uri in publication.extensions.items():
        # Unknown URIs are simply not carried.
        p.ext_kind_of[_integer("extensions: id", number, 1, 255)] = <uint8_t>EXTENSIONS.get(uri, 0)
    p.local_ssrc = <uint32_t>_integer("local_ssrc", publication.local_ssrc, 1, 0xFFFFFFFF)
    p.reduced_size = bool(publication.reduced_size)
    cdef bytes cname = _string("cname", publication.cname, sizeof(p.cname) - 1)
    memcpy(p.cname, <const char *>cname, len(cname))
    return 0


cdef int _to_view_track(object track, rf_view_track *t) except -1:
    cdef str where = f"tracks[{_KIND_OF[int(track.kind)].name}]"
    cdef bytes mid = _string(f"{where}.mid", track.mid, sizeof(t.mid))
    t.present = 1
    t.nack = bool(track.nack)
    t.mid_len = <uint8_t>len(mid)
    memcpy(t.mid, <const char *>mid, len(mid))
    t.ssrc = <uint32_t>_integer(f"{where}.ssrc", track.ssrc, 1, 0xFFFFFFFF)
    t.rtx_ssrc = <uint32_t>_integer(f"{where}.rtx_ssrc", track.rtx_ssrc, 0, 0xFFFFFFFF)
    memset(t.pt_of_format, RF_NO_PT, sizeof(t.pt_of_format))
    memset(t.rtx_pt_of_format, RF_NO_PT, sizeof(t.rtx_pt_of_format))
    for index, types in track.payload_types.items():
        pt, rtx_pt = types
        name = f"{where}.payload_types"
        i = _integer(f"{name}: format", index, 0, RF_MAX_FORMATS - 1)
        t.pt_of_format[i] = <uint8_t>_integer(f"{name}[{i}]", pt, 0, 127)
        t.rtx_pt_of_format[i] = _optional_pt(f"{name}[{i}] rtx", rtx_pt)
    for index in track.derived:
        i = _integer(f"{where}.derived", index, 0, RF_MAX_FORMATS - 1)
        t.derived |= <uint16_t>(1 << i)
    return 0


cdef int _to_subscription(object subscription, rf_subscription *s) except -1:
    memset(s, 0, sizeof(rf_subscription))
    seen = set()
    for i, track in enumerate(subscription.tracks):
        kind = _kind(f"tracks[{i}].kind", track.kind, seen)
        _to_view_track(track, &s.track[<int>kind])
    for uri, number in subscription.extensions.items():
        value = _integer("extensions: id", number, 1, 255)
        kind = EXTENSIONS.get(uri, 0)
        if kind:
            s.ext_id_of[<int>kind] = <uint8_t>value
    s.ext_mixed = bool(subscription.mixed)
    s.start_playout_delay = bool(subscription.start_playout_delay)
    if subscription.playout is not None:
        least, most = subscription.playout
        s.playout_fixed = 1
        s.playout_max = <uint16_t>(_integer("playout: max", most, 0, 40950) // 10)
        s.playout_min = <uint16_t>(_integer("playout: min", least, 0, most) // 10)
    cdef bytes cname = _string("cname", subscription.cname, sizeof(s.cname) - 1)
    memcpy(s.cname, <const char *>cname, len(cname))
    return 0
