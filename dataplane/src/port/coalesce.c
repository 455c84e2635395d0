#include "port/coalesce.h"

#include "packet/checksum.h"

enum { OPEN = 4, ACK = 0x10, PSH = 0x08, LIMIT = 65535 - IPV6_LENGTH };

/* A super-packet that may still grow. */
struct grown {
	struct rte_mbuf *head;
	uint32_t l4, header;     /* offsets of the TCP header and of the payload */
	uint32_t size;           /* payload of each segment but the last */
	uint32_t next_sequence;
	bool closed;
	bool v4;
};

/* Whether it is a plain TCP data segment with true checksums; fills `grown` for it alone. */
static bool joinable(struct rte_mbuf *buffer, struct grown *grown)
{
	const struct packet *packet = packet_of(buffer);
	const uint8_t *outer = packet_data(buffer), *ip = outer + IPV6_LENGTH;
	uint32_t length = buffer->pkt_len;
	if (buffer->nb_segs != 1 || packet->offload.needs_checksum || length < IPV6_LENGTH + IPV4_LENGTH + TCP_LENGTH ||
	    load16(outer + 4) != length - IPV6_LENGTH)
		return false;
	uint32_t ip_header, rest;
	if (outer[6] == PROTOCOL_IPV4) {
		ip_header = IPV4_LENGTH;
		if (ip[0] != 0x45 || load16(ip + 2) != length - IPV6_LENGTH || (load16(ip + 6) & 0x3fff) != 0 ||
		    ip[9] != PROTOCOL_TCP || checksum_fold(checksum_add(0, ip, IPV4_LENGTH)) != 0xffff)
			return false;
	} else {
		ip_header = IPV6_LENGTH;
		if (outer[6] != PROTOCOL_IPV6 || length < 2 * IPV6_LENGTH + TCP_LENGTH || ip[0] >> 4 != 6 ||
		    load16(ip + 4) != length - 2 * IPV6_LENGTH || ip[6] != PROTOCOL_TCP)
			return false;
	}
	const uint8_t *tcp = ip + ip_header;
	uint32_t l4 = IPV6_LENGTH + ip_header, tcp_header = (tcp[12] >> 4) * 4u;
	rest = length - l4;
	if (tcp_header < TCP_LENGTH || rest <= tcp_header || (tcp[13] & ~PSH) != ACK)
		return false;
	uint64_t pseudo = ip_header == IPV4_LENGTH ?
		checksum_pseudo4((const struct ipv4_header *)(const void *)ip, PROTOCOL_TCP, rest) :
		checksum_pseudo6((const struct ipv6_header *)(const void *)ip, PROTOCOL_TCP, rest);
	if (checksum_fold(checksum_add(pseudo, tcp, rest)) != 0xffff)
		return false;
	*grown = (struct grown){
		.head = buffer, .l4 = l4, .header = l4 + tcp_header, .size = rest - tcp_header,
		.next_sequence = load32(tcp + 4) + rest - tcp_header, .closed = (tcp[13] & PSH) != 0,
		.v4 = ip_header == IPV4_LENGTH,
	};
	return true;
}

/* Same outer and inner addresses and same ports. */
static bool same_flow(const struct grown *a, const struct grown *b)
{
	const uint8_t *x = packet_data(a->head), *y = packet_data(b->head);
	uint32_t addresses = a->v4 ? IPV6_LENGTH + 12 : IPV6_LENGTH + 8;
	return a->v4 == b->v4 && memcmp(x + 8, y + 8, 32) == 0 &&
		memcmp(x + addresses, y + addresses, a->v4 ? 8 : 32) == 0 && raw32(x + a->l4) == raw32(y + b->l4);
}

/* Whether nothing but sequence, length, identification and checksums differs, and `b` comes next. */
static bool continues(const struct grown *a, const struct grown *b)
{
	const uint8_t *x = packet_data(a->head), *y = packet_data(b->head), *p = x + a->l4, *q = y + b->l4;
	if (a->closed || a->header != b->header || b->size > a->size || load32(q + 4) != a->next_sequence ||
	    a->head->nb_segs >= COALESCE_SEGMENTS || a->head->pkt_len + b->size > LIMIT)
		return false;
	/* Class, hop limit, fragment bits; acknowledgement, header length, window, options. */
	bool ip = a->v4 ? raw32(x + 46) << 16 == raw32(y + 46) << 16 && x[41] == y[41] && x[48] == y[48] :
			  raw32(x + 40) == raw32(y + 40) && x[47] == y[47];
	return ip && raw32(p + 8) == raw32(q + 8) && p[12] == q[12] && load16(p + 14) == load16(q + 14) &&
		memcmp(p + TCP_LENGTH, q + TCP_LENGTH, a->header - a->l4 - TCP_LENGTH) == 0;
}

static void append(struct grown *grown, const struct grown *piece)
{
	packet_data(grown->head)[grown->l4 + 13] |= packet_data(piece->head)[piece->l4 + 13] & PSH;
	grown->next_sequence = piece->next_sequence;
	grown->closed = piece->closed || piece->size < grown->size;
	(void)rte_pktmbuf_adj(piece->head, (uint16_t)piece->header);
	(void)rte_pktmbuf_chain(grown->head, piece->head);
}

/* Lengths of the whole, and the checksum left to whoever cuts it again. */
static void finish(const struct grown *grown)
{
	if (grown->head->nb_segs == 1)
		return;
	uint8_t *outer = packet_data(grown->head), *ip = outer + IPV6_LENGTH;
	uint32_t inner = grown->head->pkt_len - IPV6_LENGTH, rest = grown->head->pkt_len - grown->l4;
	uint64_t pseudo;
	store16(outer + 4, inner);
	if (grown->v4) {
		store16(ip + 2, inner);
		checksum_ipv4((struct ipv4_header *)(void *)ip, IPV4_LENGTH);
		pseudo = checksum_pseudo4((const struct ipv4_header *)(const void *)ip, PROTOCOL_TCP, rest);
	} else {
		store16(ip + 4, inner - IPV6_LENGTH);
		pseudo = checksum_pseudo6((const struct ipv6_header *)(const void *)ip, PROTOCOL_TCP, rest);
	}
	uint16_t partial = checksum_fold(pseudo);
	memcpy(outer + grown->l4 + 16, &partial, 2);
	packet_of(grown->head)->offload = (struct offload){
		.needs_checksum = 1, .gso = grown->v4 ? GSO_TCP4 : GSO_TCP6, .gso_size = (uint16_t)grown->size,
		.header_length = (uint16_t)(grown->header - IPV6_LENGTH),
		.checksum_start = (uint16_t)(grown->l4 - IPV6_LENGTH), .checksum_offset = 16,
	};
}

unsigned coalesce(struct rte_mbuf **burst, unsigned count)
{
	struct grown open[OPEN], piece;
	unsigned kept = 0, used = 0, oldest = 0;
	for (unsigned i = 0; i < count; i++) {
		if (!joinable(burst[i], &piece)) {
			/* It may belong to an open flow (a FIN, an acknowledgement): nothing may overtake it. */
			for (unsigned j = 0; j < used; j++)
				open[j].closed = true;
			burst[kept++] = burst[i];
			continue;
		}
		unsigned at = 0;
		while (at < used && !same_flow(&open[at], &piece))
			at++;
		if (at < used && continues(&open[at], &piece)) {
			append(&open[at], &piece);
			continue;
		}
		if (at == used && used < OPEN) {
			used++;
		} else { /* the flow's own place, or that of the flow that is open for longest */
			at = at < used ? at : oldest++ % OPEN;
			finish(&open[at]);
		}
		open[at] = piece;
		burst[kept++] = burst[i];
	}
	for (unsigned i = 0; i < used; i++)
		finish(&open[i]);
	return kept;
}
