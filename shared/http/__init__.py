"""What every HTTP server of Vedette shares: the server in the running loop, errors as answers, what processes tell each other."""

#: Header of the name of the user on whose behalf the console asks another process, percent-encoded UTF-8.
USER_HEADER = "x-vedette-user"
