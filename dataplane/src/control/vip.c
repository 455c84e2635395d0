/* VIPs: an IPv4 address that is one interface's alone in its VNI. */
#include <errno.h>
#include <string.h>

#include "address.h"
#include "digest.h"
#include "log.h"
#include "state.h"

static struct control_key key_of(const struct control_interface_record *record, const uint8_t *ip)
{
	return control_key_of_address(record->public.spec.vni, 4, ip);
}

static bool used_in_vni(const struct control *control, const struct control_interface_record *record,
			const uint8_t *ip)
{
	struct control_key key = key_of(record, ip);

	return control_key_find(&control->vip_owners, &key) != CONTROL_INDEX_NONE ||
	       control_key_find(&control->balancers.by_address, &key) != CONTROL_INDEX_NONE;
}

static enum control_status status_of_add(int failed)
{
	switch (-failed) {
	case EADDRINUSE:
	case ENOSPC:
	case EINVAL:
		return CONTROL_VNF_INSERT;
	case EEXIST:
		return CONTROL_DNAT_EXISTS;
	default:
		return CONTROL_SNAT_CREATE;
	}
}

static enum control_status add(struct control *control, struct control_interface_record *record, const uint8_t *ip,
			       const ferrite_ipv6 *preferred, ferrite_ipv6 *underlay)
{
	struct control_key key = key_of(record, ip);
	int failed;

	if (!control_endpoint_reserve(control, preferred))
		return CONTROL_VNF_INSERT;
	if (record->has_vip)
		return CONTROL_SNAT_EXISTS;
	if (used_in_vni(control, record, ip))
		return CONTROL_DNAT_EXISTS;
	if (!control_key_reserve(&control->vip_owners))
		return CONTROL_SNAT_CREATE;
	record->vip = (struct control_vip){.interface = record->public.spec.id, .preferred = *preferred};
	memcpy(record->vip.ip.bytes, ip, sizeof record->vip.ip.bytes);
	failed = ferrite_vip_add(control->engine, record->index, record->vip.ip, preferred, &record->vip.underlay);
	if (failed != 0)
		return status_of_add(failed);
	record->has_vip = true;
	control_key_put(&control->vip_owners, &key, record->port);
	control_endpoint_add(control, &record->vip.underlay);
	control->vips++;
	control->digest ^= control_digest_vip(&record->vip);
	*underlay = record->vip.underlay;
	return CONTROL_SUCCESS;
}

void control_vip_remove(struct control *control, struct control_interface_record *record)
{
	struct control_key key;

	if (!record->has_vip)
		return;
	key = key_of(record, record->vip.ip.bytes);
	if (ferrite_vip_remove(control->engine, record->index) != 0)
		log_error("engine lost a VIP", "interface=%s", record->public.spec.id);
	control_key_remove(&control->vip_owners, &key);
	control_endpoint_remove(control, &record->vip.underlay);
	control->vips--;
	control->digest ^= control_digest_vip(&record->vip);
	record->has_vip = false;
}

enum control_status control_vip_create(struct control *control, const char *interface,
				       const struct control_address *ip, const ferrite_ipv6 *preferred,
				       ferrite_ipv6 *underlay)
{
	struct control_interface_record *record = control_interface_record_find(control, interface);

	if (record == NULL)
		return CONTROL_NO_VM;
	if (ip->family != 4)
		return CONTROL_BAD_IPVER;
	return add(control, record, ip->bytes, preferred, underlay);
}

enum control_status control_vip_ensure(struct control *control, const char *interface,
				       const struct control_address *ip, const ferrite_ipv6 *preferred,
				       ferrite_ipv6 *underlay)
{
	struct control_interface_record *record = control_interface_record_find(control, interface);
	bool same_ip;

	if (record == NULL || ip->family != 4 || !record->has_vip)
		return control_vip_create(control, interface, ip, preferred, underlay);
	same_ip = memcmp(record->vip.ip.bytes, ip->bytes, sizeof record->vip.ip.bytes) == 0;
	if (same_ip && memcmp(&record->vip.preferred, preferred, sizeof *preferred) == 0) {
		*underlay = record->vip.underlay;
		return CONTROL_SUCCESS;
	}
	/* What would refuse the new one is looked at while the old one is there. */
	if (memcmp(&record->vip.underlay, preferred, sizeof *preferred) != 0 && control_underlay_taken(control, preferred))
		return CONTROL_VNF_INSERT;
	if (!same_ip && used_in_vni(control, record, ip->bytes))
		return CONTROL_DNAT_EXISTS;
	control_vip_remove(control, record);
	return add(control, record, ip->bytes, preferred, underlay);
}

enum control_status control_vip_get(const struct control *control, const char *interface, struct control_vip *vip)
{
	const struct control_interface_record *record = control_interface_record_find(control, interface);

	if (record == NULL)
		return CONTROL_NO_VM;
	if (!record->has_vip)
		return CONTROL_SNAT_NO_DATA;
	*vip = record->vip;
	return CONTROL_SUCCESS;
}

enum control_status control_vip_delete(struct control *control, const char *interface)
{
	struct control_interface_record *record = control_interface_record_find(control, interface);

	if (record == NULL)
		return CONTROL_NO_VM;
	if (!record->has_vip)
		return CONTROL_SNAT_NO_DATA;
	control_vip_remove(control, record);
	return CONTROL_SUCCESS;
}

void control_vip_each(const struct control *control, void (*visit)(void *context, const struct control_vip *vip),
		      void *context)
{
	for (uint32_t at = 0; at < control->ports.used; ++at) {
		const struct control_interface_record *record = control->ports.ports[at].interface;

		if (record != NULL && record->has_vip)
			visit(context, &record->vip);
	}
}
