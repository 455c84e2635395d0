/* ferrite-replay: a whole dataplane without threads, sockets or a clock, driven by commands on stdin.
 *
 * Engine, control layer and the Apply conversion of ferrite.dataplane.v1 are the real ones; ports and the uplink are
 * rings, time is virtual, choices are seeded. The same commands therefore give the same answers, and the differential
 * suite compares them with those of the model (test/differential/).
 *
 * A command is a length (32 bits, big-endian) and that many bytes, the first of which says what it is:
 *
 *   'R' options, one a line as the program takes them: a new world, empty, at the start of its time. Comes first.
 *       The far end of each --port=NAME=ring:RING and of --uplink=ring:RING is ours.
 *   'A' ferrite.dataplane.v1.ApplyRequest
 *   'F' length of a port's name (8 bits), the name, a frame that its VM sends
 *   'P' as F, with its TCP or UDP checksum left to the receiver (checksum offload)
 *   'S' as P, with 16 bits between name and frame: and a TCP packet to be cut into pieces of so much data
 *   'U' an outer IPv6 packet that arrives at the uplink
 *   'T' milliseconds (32 bits, big-endian) that pass, with all that the engine does from time to time
 *   'C' nothing
 *   'X' a call of one part of the fast path (pieces.h)
 *
 * Each is answered, in order, by a length and that many bytes:
 *
 *   32 bits of length of a reply, and the reply: the ApplyResponse of A, "NAME VALUE\n" of each counter for C,
 *   what the call writes for X, else none
 *   for each packet that came out: 8 bits of length of a port's name (0: the uplink), the name, 32 bits of length, bytes
 *
 * What is not a command ends the process with 2 and a line on stderr. The end of stdin ends it with 0.
 */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unistd.h>
#include <vector>

#include "control/control.h"
#include "control/options.h"
#include "grpc/apply.hpp"
#include "pieces.h"
#include "rings.h"

namespace {

constexpr std::size_t command_limit = 16 << 20;

[[noreturn]] void refuse(const std::string &why)
{
	std::fprintf(stderr, "ferrite-replay: %s\n", why.c_str());
	std::exit(2);
}

std::uint32_t number(const char *at)
{
	const auto *bytes = reinterpret_cast<const unsigned char *>(at);

	return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 | bytes[3];
}

void put_number(std::string &out, std::size_t value)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		out.push_back(static_cast<char>(value >> shift));
}

void write_all(std::string &out)
{
	for (std::size_t done = 0; done < out.size();) {
		ssize_t count = write(STDOUT_FILENO, out.data() + done, out.size() - done);

		if (count <= 0)
			std::exit(1);
		done += static_cast<std::size_t>(count);
	}
	out.clear();
}

/* Commands off stdin; answers wait until there is nothing more to read. */
class Commands {
public:
	bool next(std::string &command, std::string &answers)
	{
		if (!fill(4, answers))
			return false;
		std::size_t length = number(buffer.data() + at);

		if (length == 0 || length > command_limit)
			refuse("a command of " + std::to_string(length) + " bytes");
		if (!fill(4 + length, answers))
			refuse("stdin ended within a command");
		command.assign(buffer, at + 4, length);
		at += 4 + length;
		return true;
	}

private:
	bool fill(std::size_t wanted, std::string &answers)
	{
		while (buffer.size() - at < wanted) {
			char part[65536];

			buffer.erase(0, at);
			at = 0;
			write_all(answers);
			ssize_t count = read(STDIN_FILENO, part, sizeof part);

			if (count <= 0 && buffer.empty())
				return false;
			if (count <= 0)
				refuse("stdin ended within a command");
			buffer.append(part, static_cast<std::size_t>(count));
		}
		return true;
	}

	std::string buffer;
	std::size_t at = 0;
};

/* Cardinality: one at a time; EAL and the packet pools outlive it. */
class World {
public:
	explicit World(const std::string &lines)
	{
		char error[OPTIONS_ERROR_TEXT] = "";

		/* The options keep pointers into these. */
		arguments = {"ferrite-replay"};
		for (std::size_t from = 0; from < lines.size();) {
			std::size_t end = std::min(lines.find('\n', from), lines.size());

			if (end > from)
				arguments.push_back(lines.substr(from, end - from));
			from = end + 1;
		}
		std::vector<char *> pointers;
		for (std::string &argument : arguments)
			pointers.push_back(argument.data());
		if (control_options_parse(static_cast<int>(pointers.size()), pointers.data(), &options, error) !=
		    OPTIONS_RUN)
			refuse(error);
		start();
	}

	~World()
	{
		control_destroy(control);
		rings_leave();
		ferrite_engine_stop(engine);
	}

	World(const World &) = delete;
	World &operator=(const World &) = delete;

	std::string apply(const std::string &bytes)
	{
		ferrite::dataplane::v1::ApplyRequest request;
		ferrite::dataplane::v1::ApplyResponse response;
		control_state state;

		if (!request.ParseFromString(bytes))
			refuse("not an ApplyRequest");
		response.set_sequence(request.sequence());
		for (const auto &operation : request.operations())
			ferrite::apply_operation(control, operation, response.add_results());
		control_read_state(control, &state);
		response.set_digest(state.digest);
		rings_settle(engine);
		return response.SerializeAsString();
	}

	void frame(const std::string &command)
	{
		std::size_t length = command.size() > 1 ? static_cast<unsigned char>(command[1]) : 255;

		std::size_t from = 2 + length + (command[0] == 'S' ? 2 : 0);

		if (command.size() < from || length == 0)
			refuse("a frame without a port");
		std::uint32_t segment = command[0] == 'S' ? number(command.data() + from - 4) & 0xffff : 0;
		send(command.substr(2, length), command, from, command[0] != 'F', static_cast<std::uint16_t>(segment));
	}

	void packet(const std::string &command) { send("", command, 1, false, 0); }

	void advance(const std::string &command)
	{
		if (command.size() != 5)
			refuse("a time is 4 bytes");
		rings_advance(engine, number(command.data() + 1));
	}

	std::string counters()
	{
		std::string text;

		ferrite_counters_each(engine, [](void *context, const char *name, std::uint64_t value) {
			*static_cast<std::string *>(context) += std::string(name) + " " + std::to_string(value) + "\n";
		}, &text);
		return text;
	}

private:
	void start()
	{
		char error[1024] = ""; /* of both kinds */
		static_assert(sizeof error >= std::size_t{OPTIONS_ERROR_TEXT} + std::size_t{FERRITE_ERROR_TEXT});

		rings_clock_reset();
		ferrite_engine_config config = control_options_engine(&options, "replay");
		config.clock_ms = rings_clock_ms;
		if (ferrite_engine_start(&config, &engine, error) != 0)
			refuse(std::string("the engine did not start: ") + error);
		control = control_create(engine);
		if (control == nullptr)
			refuse("no memory for the control layer");
		if (control_options_apply(&options, engine, control, error) != 0)
			refuse(std::string("an option is refused: ") + error);
		join("", options.uplink);
		for (unsigned i = 0; i < options.port_count; ++i)
			join(options.ports[i].name, options.ports[i].device);
		control_initialize(control);
		rings_settle(engine);
	}

	static void join(const char *name, const char *device)
	{
		if (std::strncmp(device, "ring:", 5) == 0 && !rings_join(name, device + 5))
			refuse(std::string("cannot join ") + device);
	}

	void send(const std::string &port, const std::string &command, std::size_t from, bool partial, std::uint16_t segment)
	{
		if (!rings_send(engine, port.c_str(), command.data() + from,
				static_cast<std::uint32_t>(command.size() - from), partial, segment))
			refuse("no port \"" + port + "\" takes a packet");
	}

	std::vector<std::string> arguments;
	control_options options{};
	ferrite_engine *engine = nullptr;
	struct control *control = nullptr;
};

void add_packet(void *context, const char *name, const std::uint8_t *data, std::size_t length)
{
	std::string &out = *static_cast<std::string *>(context);

	out.push_back(static_cast<char>(std::strlen(name)));
	out += name;
	put_number(out, length);
	out.append(reinterpret_cast<const char *>(data), length);
}

std::string call(const std::string &command)
{
	static std::uint8_t out[PIECES_ROOM];
	std::uint32_t written = 0;

	if (!pieces_call(reinterpret_cast<const std::uint8_t *>(command.data()) + 1,
			 static_cast<std::uint32_t>(command.size() - 1), out, &written))
		refuse("not a call");
	return {reinterpret_cast<const char *>(out), written};
}

/* The reply of one command; the packets that it caused wait at the rings. */
std::string obey(World *&world, const std::string &command)
{
	if (command[0] == 'R') {
		delete world;
		world = new World(command.substr(1));
		return {};
	}
	if (world == nullptr)
		refuse("the first command is R");
	switch (command[0]) {
	case 'A':
		return world->apply(command.substr(1));
	case 'F':
	case 'P':
	case 'S':
		world->frame(command);
		return {};
	case 'U':
		world->packet(command);
		return {};
	case 'T':
		world->advance(command);
		return {};
	case 'C':
		return world->counters();
	case 'X':
		return call(command);
	default:
		refuse("no command " + std::to_string(static_cast<unsigned char>(command[0])));
	}
}

} // namespace

int main()
{
	Commands commands;
	World *world = nullptr;
	std::string command, answers;

	while (commands.next(command, answers)) {
		std::string reply = obey(world, command), body;

		put_number(body, reply.size());
		body += reply;
		rings_drain(add_packet, &body);
		put_number(answers, body.size());
		answers += body;
	}
	write_all(answers);
	delete world;
	return 0;
}
