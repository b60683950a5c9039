/* SPDX-License-Identifier: GPL-2.0 */
/* What the end-to-end tests share: the ioctls, memory of each kind, a stranger. */
#ifndef XPIN_TEST_H
#define XPIN_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>
#include <sys/types.h>

#include <linux/xpin.h>

#include "../../tools/attack/attack.h"

/*
 * The Makefile says what a PAGE is.
 *
 * With pages of 4 KiB it is what a PMD maps. With pages of 64 KiB that would be
 * 512 MiB; but there, too, are hugetlb pages and other folios of this size.
 */
#define LARGE		(2UL << 20)
#define LARGE_HAS_PMD	(PAGE * PAGE / sizeof(__u64) == LARGE)
/* A large folio that is smaller. */
#define MIDDLE		(16 * PAGE)
/* Of pages: what a claim works on at once. */
#define CHUNK		512
#define NSEC_PER_SEC	1000000000ULL

#define SWAP_DEVICE	"/dev/ram2"
#define BLOCK_DEVICE	"/dev/ram0"
#define EXT4_FILE	"/mnt/attacked"

/*
 * One line of TAP. A test whose name says "refusal: ..." is found again in a
 * log that holds all programs.
 */
#define check(condition, fmt, ...)					\
	ksft_test_result(condition, "%s: " fmt "\n",			\
			 program_invocation_short_name, ##__VA_ARGS__)

/* Instead of a line of TAP: why there is none on this machine. */
#define skip(fmt, ...)							\
	ksft_test_result_skip("%s: " fmt "\n",				\
			      program_invocation_short_name, ##__VA_ARGS__)

/* 6.1's kselftest.h does not have it. */
#ifndef ksft_finished
#define ksft_finished() (ksft_plan == ksft_cnt.ksft_pass + ksft_cnt.ksft_xskip ? \
			 ksft_exit_pass() : ksft_exit_fail())
#endif

/*
 * What not all kernels have that the tests run on. The table in xpin_test.c says
 * since when, and why there is nothing to test before.
 */
enum feature {
	FEATURE_ALWAYS,
	FEATURE_ANON_MIDDLE,
	FEATURE_SHMEM_MIDDLE,
	FEATURE_MEMFD_PIN,
	FEATURE_GUEST_MEMFD,
	FEATURE_UFFDIO_MOVE,
	FEATURE_VVAR_PAGES,
	FEATURE_GUP_TEST_LONGTERM,
	FEATURE_UDMABUF_HUGETLB,
	FEATURE_LONGTERM_RETRY,
	FEATURE_FOLIO_WALK,
	FEATURE_FAILSLAB_FILE,
	FEATURE_NOTIFIER,
	FEATURE_DENY_GET,
	FEATURE_PLAIN_UNPIN,
	FEATURE_HOOKS,
	FEATURE_GUP_TEST,
	FEATURE_FAULT_INJECTION,
	FEATURE_UDMABUF,
	FEATURE_MOVABLE,
	FEATURE_NUMA_BALANCING,
	FEATURES,
};

/* Why there is nothing to test on this kernel; NULL if there is. */
const char *feature_missing(enum feature feature);

/* If the kernel lacks the feature, skips as many tests and is true. */
#define skip_without(feature, tests) ({					\
	const char *missing = feature_missing(feature);			\
	unsigned int left = missing ? (tests) : 0;			\
									\
	while (left--)							\
		ksft_test_result_skip("%s: %s\n",			\
				      program_invocation_short_name,	\
				      missing);				\
	!!missing;							\
})

/* Ends the program: what a test stands on is missing. */
#define require(condition, what) do {					\
	if (!(condition))						\
		give_up(__FILE__, __LINE__, what);			\
} while (0)

noreturn void give_up(const char *file, int line, const char *what);

/* The ioctls. All return 0 or -errno. */
int xpin_open(void);
/* One of enum xpin_backend. */
unsigned int xpin_backend(void);
int xpin_claim(int fd, void *addr, size_t length, __u64 timeout_ns,
	       struct xpin_claim *claim);
/* With XPIN_CLAIM_DENY_GET, and no wait. */
int xpin_claim_deny_get(int fd, void *addr, size_t length,
			struct xpin_claim *claim);
int xpin_claim_memfd(int fd, int memfd, __u64 offset, __u64 length,
		     __u64 timeout_ns, struct xpin_claim_memfd *claim);
int xpin_part(int fd, unsigned long request, __u64 claim_id, __u64 offset,
	      __u64 length, struct xpin_part *part);
int xpin_release(int fd, const struct xpin_claim *claim);
int xpin_page_state(int fd, void *addr);
/* True if all pages of the range have the state. */
bool xpin_all_pages(int fd, void *addr, size_t length, int state);
/* Gives up after a minute. */
void wait_for_state(int fd, void *addr, int state);
const char *state_name(int state);

/* A file that holds a number, as a module's parameter does. */
long file_number(const char *path);
void set_file_number(const char *path, long number);

/* Freezes all tasks as suspend does, and lets them go on at once; did all freeze? */
bool freeze_all(void);

/* Load a module, or unload it without a wait. All return 0 or -errno. */
int module_load(const char *path);
int module_load_with(const char *path, const char *parameters);
int module_unload(const char *name);
/*
 * Unload it when nobody uses it any more: at once, and so does this, where the
 * notifier is; with hooks as soon as these are gone, within half a minute.
 */
int module_unload_soon(const char *name);

/* A value of the module's debugfs file, or of a file with lines of that form. */
long long xpin_stat(const char *name);
long long named_value(const char *path, const char *name);
/* The kernel's counters are per CPU, and otherwise summed up once in a while. */
void sum_up_counters(void);
/* Pins that anybody in the system has ever taken, and those still held. */
long long pins_taken(void);
long long pins_held(void);
/* Kilobytes of this process that count against RLIMIT_MEMLOCK. */
long long locked_kb(void);

enum memory_kind {
	MEMORY_ANON_PAGE,
	MEMORY_ANON_LARGE,
	MEMORY_ANON_LARGE_PTES,
	MEMORY_ANON_MIDDLE,
	MEMORY_SHMEM_PAGE,
	MEMORY_SHMEM_LARGE,
	MEMORY_SHMEM_LARGE_PTES,
	MEMORY_SHMEM_MIDDLE,
	MEMORY_HUGETLB,
	MEMORY_HUGETLB_MEMFD,
	MEMORY_KINDS,
};

/* What the kernel must have for memory of that kind. */
enum feature memory_needs(enum memory_kind kind);

/**
 * struct memory - MEMORY_LENGTH bytes of one kind
 * @kind: which
 * @name: of the kind, for people
 * @folio: bytes of one of its folios
 * @fd: the memfd; -1 if anonymous
 * @base: first byte, at the start of a folio
 * @wanted: start of the second folio: the one that the tests claim
 */
struct memory {
	enum memory_kind kind;
	const char *name;
	size_t folio;
	int fd;
	unsigned char *base;
	unsigned char *wanted;
};

#define MEMORY_LENGTH	(2 * LARGE)

/*
 * How often to do what is done @normal times on a plain kernel: xpin.repeat= on
 * the kernel's command line says how often for a thousand.
 */
long repetitions(long normal);

/* Memory may be swapped out between the two. */
void swap_on(void);
void swap_off(void);
/* MADV_PAGEOUT, wherever it was touched last: 0, or a negative errno. */
int page_out(void *addr, size_t length);

/* The page frame behind @addr; 0 if no page is mapped there. */
__u64 page_pfn(void *addr);
/* One of KPF_* of linux/kernel-page-flags.h. */
bool page_flag(__u64 pfn, int flag);
/* Is it in ZONE_MOVABLE, from where it migrates before it is pinned for long? */
bool in_movable_zone(void *addr);
/* The folio of the page at @addr: its bytes, and the number of its first page. */
size_t folio_size(void *addr);
__u64 folio_pfn(void *addr);
/*
 * Where memory asks for large folios and there is no room for LARGE ones, the
 * kernel shall make them of this size: of shmem, or of anonymous memory. MIDDLE
 * is the normal state. False if the kernel does not offer this size.
 */
bool set_middle_folios(bool shmem, size_t size);
/* The 64 bits at @index of /proc/self/pagemap, /proc/kpageflags and the like. */
__u64 entry_of(const char *path, __u64 index);

void memory_create(struct memory *memory, enum memory_kind kind);
/* In folios of another size, or of an open file instead of a new memfd. */
void memory_create_as(struct memory *memory, enum memory_kind kind,
		      size_t folio, int fd);
void memory_destroy(struct memory *memory);
/* Gives every page a content of its own. */
void memory_fill(const struct memory *memory);
void memory_fill_part(const struct memory *memory, void *addr, size_t length);
/* What it gives the 64 bits at @word. */
__u64 memory_word(const struct memory *memory, const void *word);
/* True if @length bytes from @addr are as memory_fill() left them. */
bool memory_untouched(const struct memory *memory, const void *addr,
		      size_t length);

/* One pin of this process at a time, by an io_uring registered buffer. */
int pin_hold(void *addr, size_t length);
void pin_drop(void);
/*
 * pin_drop() by another thread, after a third of a second. What waits for it must
 * not be done before: the second call says whether it had gone, and waits for it.
 */
void pin_drop_later(void);
bool pin_has_gone(void);

/**
 * struct stranger - another process, started before the memory exists
 * @pid: its id
 * @request: pipe that it reads what to do from
 * @answer: pipe that it writes what came of it to
 * @buffer: STRANGER_BUFFER bytes that it shares with its parent
 */
struct stranger {
	pid_t pid;
	int request;
	int answer;
	unsigned char *buffer;
};

#define STRANGER_BUFFER	(16 * PAGE)

void stranger_start(struct stranger *stranger);
void stranger_stop(struct stranger *stranger);
/*
 * Attacks part of @memory from the other process, which has it mapped only for
 * an attack that needs that. Anonymous memory can be pinned only by its own
 * process unless the attack is a remote one.
 */
struct attack_result stranger_attack(struct stranger *stranger,
				     const struct attack *attack,
				     const struct memory *memory, void *addr,
				     size_t length);
/* True if process_vm_readv() of a page of @memory by the other process works. */
bool stranger_reaches(struct stranger *stranger, const struct memory *memory,
		      void *addr);
/* The same for up to 64 pages: bit n says it of the one n pages after @addr. */
__u64 stranger_reaches_pages(struct stranger *stranger,
			     const struct memory *memory, void *addr,
			     unsigned int pages);
/*
 * The same for a page of this process by GUP-fast, and not by its slow path as
 * process_vm_readv(); through an open /dev/xpin_test_owner.
 */
bool reached_fast(int test_owner, void *addr);
/* pin_hold() and pin_drop() in the other process; @memory is not anonymous. */
int stranger_pin_hold(struct stranger *stranger, const struct memory *memory,
		      void *addr, size_t length);
void stranger_pin_drop(struct stranger *stranger);

#endif /* XPIN_TEST_H */
