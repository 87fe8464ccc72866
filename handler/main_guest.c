/* drover-guest: a native guest, one process; see docs/native-guest.md. */
#include "handler/guest_main.h"

int
main(int argc, char **argv)
{
    return guest_main(argc, argv);
}
