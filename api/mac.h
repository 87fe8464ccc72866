/* The MAC address of an interface that a manifest gives none: derived from the instance and the
 * interface's name, so that it is the same on every host that the VM comes to. Pure. */
#ifndef API_MAC_H
#define API_MAC_H

#define MAC_SIZE 18

/* uid: of the VirtualMachineInstance. "02:...": locally administered, of one host. */
void mac_of_interface(const char *uid, const char *name, char ret[MAC_SIZE]);

#endif
