/* Migrations while they run: on a terminal a live table with progress bars, elsewhere a plain
 * line whenever something has changed. Used by get vmim -w, migrate --wait, drain --wait and the
 * demo. */
#ifndef CLI_TERM_MIGRATIONS_H
#define CLI_TERM_MIGRATIONS_H

#include <stddef.h>

#include "api/tree.h"
#include "cli/client_migration.h"
#include "cli/term.h"

struct migrations_view;

/* term is borrowed. indent: blanks before each line. */
struct migrations_view *migrations_view_new(struct term *term, int indent);
void migrations_view_free(struct migrations_view *v); /* ends the live region; NULL is fine */
/* Shows these. `below` (may be NULL) is one more line under the live table; off a terminal it is
 * printed when it has changed. */
void migrations_view_show(struct migrations_view *v, const struct migration *m, size_t len,
                          const char *below);
/* A second line for each migration that runs: phase, mode, encodings, predicted downtime, limit. */
void migrations_view_details(struct migrations_view *v);
/* Makes the live lines stay as they are; what is printed next comes under them. */
void migrations_view_settle(struct migrations_view *v);

#endif
