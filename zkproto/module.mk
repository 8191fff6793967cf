zkproto_SRCS :=
zkproto_DEPS := net base
zkproto_PKGS :=
