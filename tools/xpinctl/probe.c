// SPDX-License-Identifier: GPL-2.0
/* xpinctl probe: try to get at memory in every way that takes a pin of it. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../attack/attack.h"
#include "xpinctl.h"

#define SHOWN_MAX	60
/* O_DIRECT may overwrite so much more of a block device than is attacked. */
#define SAVED_MORE	((1 + ATTACK_BIO_PAGES) * page_size())

/**
 * struct probe - what to do, and what was found
 * @target: the memory, and where O_DIRECT may work
 * @mapping: the mapping it is in
 * @memory: /proc/PID/mem, which reads and writes by a plain reference
 * @found: the bytes that were there
 * @buffer: the bytes that an attack brought or brings
 * @saved: what was on the block device
 * @nr_saved: bytes
 * @not_local: why there is no &attack_target.local
 * @not_local_error: the errno for it
 * @words: only attacks whose name has one of them in it; none: all of them
 * @nr_words: how many
 * @write: try to overwrite it, too
 * @written: what to write, instead of what was there
 * @show: say what arrived
 * @get: also try the ways that take a plain reference
 * @not_put_back: the errno if what was overwritten last is still so
 */
struct probe {
	struct attack_target target;
	struct mapping mapping;
	int memory;
	char *found;
	char *buffer;
	char *saved;
	size_t nr_saved;
	char *not_local;
	int not_local_error;
	char **words;
	size_t nr_words;
	bool write;
	const char *written;
	bool show;
	bool get;
	int not_put_back;
};

static void *allocate(size_t length)
{
	void *memory = aligned_alloc(page_size(), length);

	if (!memory)
		fail(ENOMEM, "ask for less", "can't get %zu bytes", length);
	return memory;
}

static bool read_all(int fd, char *buffer, size_t length, off_t offset)
{
	size_t done = 0;
	ssize_t n;

	while (done < length) {
		n = pread(fd, buffer + done, length - done, offset + done);
		if (n <= 0)
			return false;
		done += n;
	}
	return true;
}

/* Without a pin, so that it works on memory that somebody owns. */
static bool read_memory(const struct probe *probe, char *buffer)
{
	const struct attack_target *target = &probe->target;
	bool all;
	int fd;

	if (read_all(probe->memory, buffer, target->length,
		     (uintptr_t)target->remote))
		return true;
	/* Plain references by address can be refused, too; not by the file. */
	fd = target->memfd ? open(target->memfd, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return false;
	all = read_all(fd, buffer, target->length, target->offset);
	close(fd);
	return all;
}

/* Something was written there: it is there to be written. */
static void put_back(struct probe *probe)
{
	const struct attack_target *target = &probe->target;
	ssize_t length = target->length;
	bool done;

	/* For a short write. */
	errno = EIO;
	done = pwrite(probe->memory, probe->found, length,
		      (uintptr_t)target->remote) == length;
	probe->not_put_back = done || target->local ? 0 : errno;
	if (!done && target->local)
		memcpy(target->local, probe->found, length);
}

static void find_memory(struct probe *probe)
{
	struct attack_target *target = &probe->target;
	__u64 addr = (uintptr_t)target->remote;

	probe->mapping = mapping_find(target->pid, addr, target->length);
	probe->memory = process_open(target->pid, "mem",
				     probe->write ? O_RDWR : O_RDONLY);
	probe->found = allocate(target->length);
	probe->buffer = allocate(target->length);
	target->local = mapping_share(&probe->mapping, addr, &probe->not_local);
	probe->not_local_error = errno;
	if (target->local) {
		target->memfd = mapping_path(&probe->mapping);
		target->offset = probe->mapping.offset + addr -
				 probe->mapping.start;
	}
	/* What can't be reached without a pin, either, can't be refused. */
	if (!read_memory(probe, probe->found))
		fail(EFAULT, "may nobody read it, or is it private and held with --deny-get?",
		     "the memory of process %d at %p can't be reached",
		     target->pid, target->remote);
}

/* --- Places for O_DIRECT --- */

static void create_file(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		fail(errno, errno == EEXIST ?
		     "it would be overwritten; name a new one" : NULL,
		     "can't create %s", path);
	close(fd);
}

static int open_block(const char *path)
{
	/* O_EXCL: not one that is mounted or otherwise in use. */
	int fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC);
	struct stat file;

	if (fd < 0)
		fail(errno, errno == EBUSY ? "it is in use" : NULL,
		     "can't open %s", path);
	if (fstat(fd, &file) || !S_ISBLK(file.st_mode))
		fail(ENOTBLK, NULL, "%s is no block device", path);
	return fd;
}

static void save_block(struct probe *probe)
{
	int fd = open_block(probe->target.block);
	ssize_t n;

	probe->saved = allocate(probe->target.length + SAVED_MORE);
	n = pread(fd, probe->saved, probe->target.length + SAVED_MORE, 0);
	if (n < 0)
		fail(errno, NULL, "can't read %s", probe->target.block);
	probe->nr_saved = n;
	close(fd);
}

static void restore_block(const struct probe *probe)
{
	int fd = open_block(probe->target.block);

	if (pwrite(fd, probe->saved, probe->nr_saved, 0) !=
	    (ssize_t)probe->nr_saved || fsync(fd))
		fail(errno, NULL, "can't restore the start of %s",
		     probe->target.block);
	close(fd);
}

/* --- One attack --- */

static bool chosen(const struct probe *probe, const struct attack *attack)
{
	size_t i;

	if (attack->writes && !probe->write)
		return false;
	for (i = 0; i < probe->nr_words; i++) {
		if (strstr(attack->name, probe->words[i]))
			return true;
	}
	return !probe->nr_words;
}

/* Why the attack can't be tried; NULL if it can. */
static const char *obstacle(const struct probe *probe,
			    const struct attack *attack)
{
	if (!attack->remote)
		return probe->target.local ? NULL : probe->not_local;
	/* EFAULT would look as if it was refused. */
	if (attack->writes && !probe->mapping.writable)
		return "the process may not write there itself";
	if (!attack->writes && !probe->mapping.readable)
		return "the process may not read there itself";
	return NULL;
}

/* Is this what the attack returns for memory that somebody owns? */
static bool is_refusal(const struct attack *attack, int error, size_t length)
{
	const struct attack_answer *answer = attack_answer(attack);

	return error == answer->first ||
	       (length > page_size() && answer->later == ATTACK_REFUSED &&
		error == answer->later_error);
}

/* The printable beginning of @bytes. */
static void add_text(struct json_object *attempt, const char *bytes)
{
	char text[SHOWN_MAX + 1];
	size_t i;

	for (i = 0; i < SHOWN_MAX && isprint(bytes[i]); i++)
		text[i] = bytes[i];
	text[i] = '\0';
	add_string(attempt, "text", text);
}

/* What an attack writes if it gets through: */
static void load_buffer(const struct probe *probe)
{
	memcpy(probe->buffer, probe->found, probe->target.length);
	if (probe->written)
		memcpy(probe->buffer, probe->written,
		       strlen(probe->written) + 1);
}

static struct json_object *try(struct probe *probe,
			       const struct attack *attack)
{
	const char *why = obstacle(probe, attack), *outcome = "unavailable";
	struct attack_result result = { .error = probe->not_local_error };
	struct json_object *attempt = json_object_new_object();
	bool possible = !why, arrived = false;

	if (possible) {
		load_buffer(probe);
		result = attack_run(attack, &probe->target, probe->buffer);
		why = result.why;
		if (!why && result.outcome == ATTACK_REFUSED &&
		    !is_refusal(attack, result.error, probe->target.length))
			why = "it failed, but not because of a pin";
		else if (!why && result.outcome == ATTACK_REFUSED)
			outcome = "refused";
		else if (!why)
			outcome = result.outcome == ATTACK_SHORT ? "short" :
								   "succeeded";
		arrived = !why && result.outcome != ATTACK_REFUSED;
	}

	add_string(attempt, "attack", attack->name);
	add_bool(attempt, "writes", attack->writes);
	add_bool(attempt, "pins_only", attack->pins_only);
	add_string(attempt, "outcome", outcome);
	add_string(attempt, "errno", !arrived && result.error ?
		   strerrorname_np(result.error) : NULL);
	add_string(attempt, "why", why);
	add_number(attempt, "bytes", arrived ? result.bytes : 0);
	if (arrived && probe->show && attack->writes)
		read_memory(probe, probe->buffer);
	if (arrived && probe->show && !attack->pins_only)
		add_text(attempt, probe->buffer);
	else
		add_string(attempt, "text", NULL);
	if (possible && attack->writes && probe->written)
		put_back(probe);
	return attempt;
}

/* --- The answer --- */

static void print_attempt(struct json_object *attempt, __u64 length)
{
	const char *outcome = string_of(attempt, "outcome");
	const char *error = string_of(attempt, "errno");
	const char *why = string_of(attempt, "why");
	const char *text = string_of(attempt, "text");

	printf("  %-37s", string_of(attempt, "attack"));
	fputs(outcome, stdout);
	if (why)
		printf(" here: %s", why);
	if (error)
		printf(" (%s)", error);
	if (!strcmp(outcome, "succeeded"))
		printf(" (%s bytes%s)", string_of(attempt, "bytes"),
		       bool_of(attempt, "pins_only") ? " pinned" : "");
	if (!strcmp(outcome, "short"))
		printf(" (%s of %llu bytes)", string_of(attempt, "bytes"),
		       length);
	if (text)
		printf(": %s \"%s\"", bool_of(attempt, "writes") ? "now" : "got",
		       text);
	putchar('\n');
}

static void text(struct json_object *probe)
{
	struct json_object *attempts = object_of(probe, "attempts");
	size_t i;

	printf("pid %s address %s length %s\n", string_of(probe, "pid"),
	       string_of(probe, "address"), string_of(probe, "length"));
	for (i = 0; i < json_object_array_length(attempts); i++)
		print_attempt(json_object_array_get_idx(attempts, i),
			      number_of(probe, "length"));
	printf("%s refused, %s got through, %s unavailable here\n",
	       string_of(probe, "refused"), string_of(probe, "got_through"),
	       string_of(probe, "unavailable"));
}

static void try_all(struct probe *probe, const struct attack *attack,
		    struct json_object *attempts)
{
	for (; attack->name; attack++) {
		if (chosen(probe, attack))
			json_object_array_add(attempts, try(probe, attack));
	}
}

/* What may end the process waits until all is restored, if anything is. */
static struct json_object *try_and_restore(struct probe *probe)
{
	static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
	struct json_object *attempts = json_object_new_array();
	sigset_t ends, before;
	size_t i;

	sigemptyset(&ends);
	for (i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(&ends, signals[i]);
	if (!probe->written && !probe->target.block && !probe->target.file)
		sigemptyset(&ends);
	sigprocmask(SIG_BLOCK, &ends, &before);
	if (probe->target.block)
		save_block(probe);
	if (probe->target.file)
		create_file(probe->target.file);
	try_all(probe, attacks, attempts);
	if (probe->get)
		try_all(probe, plain_attacks, attempts);
	if (probe->target.file)
		unlink(probe->target.file);
	if (probe->target.block)
		restore_block(probe);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (probe->not_put_back)
		fail(probe->not_put_back, NULL, "can't put back what was at %p",
		     probe->target.remote);
	return attempts;
}

static int run(struct probe *probe)
{
	struct json_object *object = json_object_new_object(), *attempt;
	struct json_object *attempts = try_and_restore(probe);
	unsigned int refused = 0, unavailable = 0, through = 0;
	const char *outcome;
	size_t i;

	for (i = 0; i < json_object_array_length(attempts); i++) {
		attempt = json_object_array_get_idx(attempts, i);
		outcome = string_of(attempt, "outcome");
		if (!strcmp(outcome, "refused"))
			refused++;
		else if (!strcmp(outcome, "unavailable"))
			unavailable++;
		else
			through++;
	}
	add_number(object, "pid", probe->target.pid);
	add_address(object, "address", (uintptr_t)probe->target.remote);
	add_number(object, "length", probe->target.length);
	json_object_object_add(object, "attempts", attempts);
	add_number(object, "refused", refused);
	add_number(object, "got_through", through);
	add_number(object, "unavailable", unavailable);
	answer(object, text);
	if (through)
		return 1;
	return refused ? EXIT_SUCCESS : EXIT_USAGE;
}

static void check_words(const struct probe *probe)
{
	const struct attack *attack;

	for (attack = attacks; attack->name; attack++) {
		if (chosen(probe, attack))
			return;
	}
	for (attack = plain_attacks; probe->get && attack->name; attack++) {
		if (chosen(probe, attack))
			return;
	}
	usage_error("probe: there is no such attack, or it needs --write or --get");
}

int command_probe(int argc, char **argv)
{
	static const struct option options[] = {
		{ "length", required_argument, NULL, 'l' },
		{ "attack", required_argument, NULL, 'a' },
		{ "show", no_argument, NULL, 's' },
		{ "get", no_argument, NULL, 'g' },
		{ "write", optional_argument, NULL, 'w' },
		{ "file", required_argument, NULL, 'f' },
		{ "block", required_argument, NULL, 'b' },
		{}
	};
	struct probe probe = { .target.length = page_size() };
	int option, ret;

	failure_status = EXIT_USAGE;
	probe.words = calloc(argc, sizeof(*probe.words));
	opterr = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'l':
			probe.target.length = parse_length(optarg);
			break;
		case 'a':
			probe.words[probe.nr_words++] = optarg;
			break;
		case 's':
			probe.show = true;
			break;
		case 'g':
			probe.get = true;
			break;
		case 'w':
			probe.write = true;
			probe.written = optarg;
			break;
		case 'f':
			probe.target.file = optarg;
			break;
		case 'b':
			probe.target.block = optarg;
			break;
		default:
			usage_error("probe: '%s' is no option, or lacks its value",
				    argv[optind - 1]);
		}
	}
	if (argc - optind != 2)
		usage_error("probe: wants PID and ADDR");
	probe.target.pid = parse_pid(argv[optind]);
	probe.target.remote = (void *)parse_address(argv[optind + 1]);
	if (probe.written && strlen(probe.written) >= probe.target.length)
		usage_error("probe: the text is longer than the memory");
	check_words(&probe);

	find_memory(&probe);
	ret = run(&probe);
	free(probe.words);
	return ret;
}
