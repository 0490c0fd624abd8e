/* RTP header extensions (RFC 8285): read under one leg's ids, written under another's.
 *
 *   one-byte  0xBEDE | words |  id:4 len-1:4 data…          ids 1..14, 1..16 bytes
 *   two-byte  0x100x | words |  id:8 len:8   data…          ids 1..255, 0..255 bytes
 *
 * A zero byte is padding in both. In the one-byte form id 0 with a length and id 15 end the walk
 * (section 4.2).
 */
#include "wire/hdrext.h"

#include <string.h>

#include "base/cursor.h"
#include "base/error.h"

enum {
    ONE_BYTE = 0xbede,
    TWO_BYTE = 0x1000,
    TWO_BYTE_MASK = 0xfff0,
};

static const char *const uris[RF_EXT_COUNT] = {NULL,
#define X(name, uri) uri,
                                               RF_EXTS(X)
#undef X
};

const char *rf_ext_uri(int kind) {
    return kind > RF_EXT_NONE && kind < RF_EXT_COUNT ? uris[kind] : NULL;
}

/* One element's head: 1 when *id and *len are set, 0 for a padding byte, -1 at the end. */
static int next_head(rf_cursor *c, int one_byte, uint8_t *id, uint8_t *len) {
    uint8_t first = rf_get8(c);
    if (first == 0)
        return 0;
    if (!one_byte) {
        *id = first;
        *len = rf_get8(c);
        return 1;
    }
    *id = first >> 4;
    *len = (uint8_t)((first & 0x0f) + 1);
    return *id == 0 || *id == 15 ? -1 : 1;
}

int rf_ext_parse(uint16_t profile, const uint8_t *ext, size_t len, const rf_ext_map *map,
                 rf_ext_item *out, int max) {
    int one_byte = profile == ONE_BYTE;
    int count = 0;
    if (ext == NULL || (!one_byte && (profile & TWO_BYTE_MASK) != TWO_BYTE))
        return 0;
    rf_cursor c = rf_cursor_of(ext, len);
    while (rf_left(&c) > 0 && count < max) {
        uint8_t id = 0;
        uint8_t size = 0;
        int head = next_head(&c, one_byte, &id, &size);
        if (head == 0)
            continue;
        if (head < 0)
            break;
        const uint8_t *data = rf_take(&c, size);
        if (c.bad)
            break;
        uint8_t kind = map->kind_of[id];
        if (kind == RF_EXT_NONE || kind >= RF_EXT_COUNT)
            continue;
        out[count++] = (rf_ext_item){.kind = kind, .len = size, .data = data};
    }
    return count;
}

static uint8_t id_for(const rf_ext_item *item, const uint8_t id_of[RF_EXT_COUNT]) {
    return item->kind < RF_EXT_COUNT ? id_of[item->kind] : 0;
}

int rf_ext_build(const rf_ext_item *items, int count, const uint8_t id_of[RF_EXT_COUNT],
                 uint8_t *out, size_t cap) {
    int one_byte = 1;
    int written = 0;
    size_t body = 0;
    for (int i = 0; i < count; i++) {
        uint8_t id = id_for(&items[i], id_of);
        if (id == 0)
            continue;
        written++;
        body += items[i].len;
        if (id > 14 || items[i].len == 0 || items[i].len > 16)
            one_byte = 0;
    }
    if (written == 0)
        return 0;
    body += (size_t)written * (one_byte ? 1 : 2);
    size_t total = 4 + ((body + 3) & ~(size_t)3);
    if (total > cap || total - 4 > (size_t)UINT16_MAX * 4)
        return RF_ENOSPC;
    rf_put16(out, one_byte ? ONE_BYTE : TWO_BYTE);
    rf_put16(out + 2, (uint16_t)((total - 4) / 4));
    size_t at = 4;
    for (int i = 0; i < count; i++) {
        uint8_t id = id_for(&items[i], id_of);
        if (id == 0)
            continue;
        if (one_byte) {
            out[at++] = (uint8_t)(id << 4 | (items[i].len - 1));
        } else {
            out[at++] = id;
            out[at++] = items[i].len;
        }
        if (items[i].len > 0)
            memcpy(out + at, items[i].data, items[i].len);
        at += items[i].len;
    }
    memset(out + at, 0, total - at);
    return (int)total;
}
