/* See hdrext.h. One-byte form: id and length - 1 in one byte, id 0 is padding, id 15 ends the
 * block. Two-byte form: id, length, data; id 0 is padding. */
#include "wire/hdrext.h"

#include <string.h>

#include "base/cursor.h"
#include "base/error.h"

const char *rf_ext_uri(int kind) {
    static const char *const uris[] = {NULL,
#define X(name, uri) uri,
                                       RF_EXTS(X)
#undef X
    };
    return kind > 0 && kind < RF_EXT_COUNT ? uris[kind] : NULL;
}

static int one_byte(rf_cursor *c, uint8_t *id, uint8_t *len) {
    uint8_t head = rf_get8(c);
    *id = head >> 4;
    *len = *id ? (uint8_t)((head & 0x0f) + 1) : 0;
    return *id != 15;
}

static int two_byte(rf_cursor *c, uint8_t *id, uint8_t *len) {
    *id = rf_get8(c);
    *len = *id ? rf_get8(c) : 0;
    return 1;
}

int rf_ext_parse(uint16_t profile, const uint8_t *ext, size_t len, const rf_ext_map *map,
                 rf_ext_item *out, int max) {
    int (*head)(rf_cursor *, uint8_t *, uint8_t *) = profile == 0xBEDE              ? one_byte
                                                     : (profile & 0xfff0) == 0x1000 ? two_byte
                                                                                    : NULL;
    rf_cursor c = rf_cursor_of(ext, ext ? len : 0);
    int count = 0;
    while (head && count < max && rf_left(&c) > 0) {
        uint8_t id, size;
        if (!head(&c, &id, &size))
            break;
        const uint8_t *data = rf_take(&c, size);
        if (c.bad)
            break;
        uint8_t kind = id ? map->kind_of[id] : RF_EXT_NONE;
        if (kind == RF_EXT_NONE || kind >= RF_EXT_COUNT)
            continue;
        out[count].kind = kind;
        out[count].len = size;
        out[count++].data = data;
    }
    return count;
}

int rf_ext_build(const rf_ext_item *items, int count, const uint8_t id_of[RF_EXT_COUNT],
                 uint8_t *out, size_t cap) {
    int wide = 0, any = 0;
    size_t need = 4;
    for (int i = 0; i < count; i++) {
        uint8_t id = id_of[items[i].kind];
        if (!id)
            continue;
        any = 1;
        wide |= id > 14 || items[i].len < 1 || items[i].len > 16;
        need += items[i].len + 1u;
    }
    if (!any)
        return 0;
    if (wide)
        for (int i = 0; i < count; i++)
            need += id_of[items[i].kind] != 0;
    size_t padded = (need + 3) / 4 * 4;
    if (padded > cap)
        return RF_ENOSPC;
    rf_put16(out, wide ? 0x1000 : 0xBEDE);
    rf_put16(out + 2, (uint16_t)(padded / 4 - 1));
    size_t at = 4;
    for (int i = 0; i < count; i++) {
        uint8_t id = id_of[items[i].kind];
        if (!id)
            continue;
        if (wide) {
            out[at++] = id;
            out[at++] = items[i].len;
        } else {
            out[at++] = (uint8_t)(id << 4 | (items[i].len - 1));
        }
        if (items[i].len)
            memcpy(out + at, items[i].data, items[i].len);
        at += items[i].len;
    }
    memset(out + at, 0, padded - at);
    return (int)padded;
}
