/* Kernel interfaces that Debian 12's headers (6.1) do not have yet, under names of our own so that
 * newer headers do not clash: userfaultfd features, and PAGEMAP_SCAN of Linux 6.7
 * (Documentation/admin-guide/mm/ pagemap.rst and userfaultfd.rst). */
#ifndef MIGRATE_UFFD_ABI_H
#define MIGRATE_UFFD_ABI_H

#include <linux/userfaultfd.h>
#include <stdint.h>
#include <sys/ioctl.h>

#define ABI_UFFD_FEATURE_MISSING_SHMEM      (1ull << 5)  /* 4.11 */
#define ABI_UFFD_FEATURE_MINOR_SHMEM        (1ull << 10) /* 5.14 */
#define ABI_UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1ull << 12) /* 5.19 */
#define ABI_UFFD_FEATURE_WP_UNPOPULATED     (1ull << 13) /* 6.4 */
#define ABI_UFFD_FEATURE_POISON             (1ull << 14) /* 6.6 */
#define ABI_UFFD_FEATURE_WP_ASYNC           (1ull << 15) /* 6.7 */
#define ABI_UFFD_USER_MODE_ONLY             1            /* flag of userfaultfd(2), 5.11 */

struct abi_uffdio_poison { /* 6.6 */
    struct uffdio_range range;
    uint64_t mode;
    int64_t updated;
};

#define ABI_UFFDIO_POISON _IOWR(UFFDIO, 0x08, struct abi_uffdio_poison)

#define ABI_PAGE_IS_WRITTEN (1ull << 1)
#define ABI_PAGE_IS_PRESENT (1ull << 3)
#define ABI_PAGE_IS_SWAPPED (1ull << 4) /* also write-protect markers */

#define ABI_PM_SCAN_WP_MATCHING   (1ull << 0)
#define ABI_PM_SCAN_CHECK_WPASYNC (1ull << 1)

struct abi_page_region {
    uint64_t start, end, categories;
};

struct abi_pm_scan_arg {
    uint64_t size, flags;
    uint64_t start, end, walk_end;
    uint64_t vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define ABI_PAGEMAP_SCAN _IOWR('f', 16, struct abi_pm_scan_arg)

#endif
