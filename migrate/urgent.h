/* How threads stand to each other while a guest waits for pages: who answers goes before who pushes.
 * A real-time priority where the process may have one (CAP_SYS_NICE or RLIMIT_RTPRIO), else a lower
 * nice value, else nothing. */
#ifndef MIGRATE_URGENT_H
#define MIGRATE_URGENT_H

/* For the calling thread, until it ends. */
void urgent_raise(void);
void urgent_lower(void);

#endif
