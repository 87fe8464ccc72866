/* The verbs of `drover`, one function each, called by cli/main_drover.c through its verb table.
 * argv[0] is the verb as typed, argv[1..] what follows it. A verb prints its answer on stdout and,
 * when it cannot do what was asked, one line on stderr; it returns the exit code of CLI.md. It
 * never calls exit(). */
#ifndef CLI_VERBS_H
#define CLI_VERBS_H

#define EXIT_DONE  0 /* done, and the answer is yes */
#define EXIT_ERROR 1 /* it could not be done, or the input is wrong */
#define EXIT_NO    2 /* the answer is no: nothing fits, a drain is blocked, a timeout was reached */

/* With a controller. */
int verb_get(int argc, char **argv);
int verb_describe(int argc, char **argv);
int verb_apply(int argc, char **argv);
int verb_delete(int argc, char **argv);
int verb_label(int argc, char **argv);
int verb_annotate(int argc, char **argv);
int verb_taint(int argc, char **argv);
int verb_cordon(int argc, char **argv);
int verb_uncordon(int argc, char **argv);
int verb_drain(int argc, char **argv);
int verb_start(int argc, char **argv);
int verb_stop(int argc, char **argv);
int verb_restart(int argc, char **argv);
int verb_pause(int argc, char **argv);
int verb_unpause(int argc, char **argv);
int verb_console(int argc, char **argv);
int verb_reset(int argc, char **argv);
int verb_migrate(int argc, char **argv);
int verb_migrate_cancel(int argc, char **argv);
int verb_verify(int argc, char **argv);
int verb_trace(int argc, char **argv);
int verb_checkup(int argc, char **argv);
int verb_top(int argc, char **argv);
int verb_events(int argc, char **argv);
int verb_kubeconfig(int argc, char **argv);

/* Without one: the same code on files. */
int verb_schedule(int argc, char **argv);
int verb_plan(int argc, char **argv);
int verb_policy(int argc, char **argv);
int verb_migratable(int argc, char **argv);
int verb_evict(int argc, char **argv);
int verb_labels(int argc, char **argv);
int verb_simulate(int argc, char **argv);

/* Certificates of nodes. */
int verb_pki(int argc, char **argv);

/* A local cluster. */
int verb_dev(int argc, char **argv);
int verb_demo(int argc, char **argv);

#endif
