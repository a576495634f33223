/*
** listen.h - the sockets that the server listens at.
*/
#ifndef MAPH_HTTP_LISTEN_H
#define MAPH_HTTP_LISTEN_H

#include <stdbool.h>
#include <sys/socket.h>

enum { LISTENERS_MAX = 32, PEER_ROOM = 64 };

/* Open every address of option.listen, and take over those that systemd passed.  False: said on
** stderr why not, and none is open. */
bool listen_open(void);
void listen_close(void);
int listen_count(void);
int listen_descriptor(int i);
int listen_passed(void); /* the first ones, which systemd passed and keeps open */
/* All of them for people: http://127.0.0.1:8080 and unix:/run/maph/socket. */
void listen_addresses(char *out, size_t room);
/* The peer's address as text: 192.0.2.1, 2001:db8::1, or unix. */
void listen_peer(const struct sockaddr *peer, char out[PEER_ROOM]);

#endif
