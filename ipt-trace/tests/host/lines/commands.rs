//! Commands other than `-A`, alone and one after another, in new tables and in kept ones.

use super::cases::{Case, same};

/// Lines behind chains `user` and `DNS` without rules, in a table of their own.
pub const COMMANDS: &[Case] = &[
    same("-A INPUT -p tcp -j ACCEPT\n-I INPUT -p udp -j DROP\n-I INPUT 2 -p icmp -j user"),
    same("-I INPUT 2 -j ACCEPT"),
    same("-I INPUT 0 -j ACCEPT"),
    same("-I INPUT x -j ACCEPT"),
    same("-A INPUT -j DROP\n-I INPUT 2 -j ACCEPT\n-I INPUT 4 -j ACCEPT"),
    same("-I INPUT -s 1.1.1.1,2.2.2.2 -d 3.3.3.3,4.4.4.4 -j ACCEPT"),
    same("-A INPUT -j DROP\n-D INPUT 1\n-A INPUT -j ACCEPT"),
    same("-A INPUT -j DROP\n-A INPUT -j user\n-D INPUT -j user\n-X user"),
    same("-A INPUT -j DROP\n-D INPUT 2"),
    same("-D INPUT -j DROP"),
    same("-A INPUT -p tcp -m tcp --dport 80 -j DROP\n-D INPUT -p tcp -m tcp --dport 81 -j DROP"),
    same("-A INPUT -p tcp -m tcp --dport 80 -j DROP\n-D INPUT -p tcp -m tcp --dport 80 -j DROP"),
    same("-A INPUT -m limit --limit 3/s\n-A INPUT\n-D INPUT -m limit --limit 3/s"),
    same("-A INPUT -j user\n-A INPUT -g user\n-D INPUT -g user"),
    same("-A INPUT -j user\n-D INPUT -j DNS"),
    same("-A INPUT -j ACCEPT\n-C INPUT -j ACCEPT"),
    same("-A INPUT -j ACCEPT\n-C INPUT -j DROP"),
    same("-A INPUT -j ACCEPT\n-A INPUT -j DROP\n-R INPUT 2 -p tcp -j user"),
    same("-A INPUT -j ACCEPT\n-R INPUT 2 -j DROP"),
    same("-R INPUT -j DROP"),
    same("-R INPUT 1"),
    same("-A INPUT -j ACCEPT\n-A user -j DROP\n-F"),
    same("-A INPUT -j ACCEPT\n-A user -j DROP\n-F user\n-X user"),
    same("-F nothing"),
    same("-N new\n-A INPUT -j new\n-A new -j ACCEPT"),
    same("-N user"),
    same("-N ACCEPT"),
    same("-N -new"),
    same("-N LOG"),
    same("-N 0123456789012345678901234567"),
    same("-N 01234567890123456789012345678"),
    same("-X"),
    same("-X INPUT"),
    same("-A user -j ACCEPT\n-X user"),
    same("-A user -j ACCEPT\n-X"),
    same("-A INPUT -j user\n-X user"),
    same("-P FORWARD DROP"),
    same("-P FORWARD RETURN"),
    same("-P user DROP"),
    same("-P FORWARD"),
    same("-c 3 4 -P FORWARD DROP"),
    same("-E user other\n-A INPUT -j other"),
    same("-A INPUT -j user\n-E user other"),
    same("-E user DNS"),
    same("-E INPUT other"),
    same("-E user"),
    same("-c 5 6 -A INPUT -j ACCEPT\n-Z"),
    same("-c 5 6 -A INPUT -j ACCEPT\n-c 7 8 -A INPUT -j DROP\n-Z INPUT 2"),
    same("-c 5 6 -A INPUT -j ACCEPT\n-Z INPUT 2"),
    same("-c 5 6 -A INPUT -j ACCEPT\n-c 7 8 -A OUTPUT -j DROP\n-Z INPUT"),
    same("-A INPUT -D INPUT -j ACCEPT"),
    same("-F INPUT -j ACCEPT"),
    same("-X user -p tcp"),
    same("--insert INPUT --jump ACCEPT\n--delete INPUT 1\n--new-chain new\n--flush new"),
    same("--policy INPUT DROP\n--rename-chain user other\n--zero\n--delete-chain other"),
];

/// What is there before one of [`CHANGES`].
pub const KEPT: &str = "\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DNS - [0:0]
:user - [0:0]
[1:100] -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
[2:200] -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
[3:300] -A INPUT -p udp -j user
[4:400] -A INPUT
[5:500] -A user -m comment --comment kept -g DNS
[6:600] -A DNS -j LOG --log-prefix \"dns \"
COMMIT
";

/// Files that change a table with `--noflush`.
pub const CHANGES: &[Case] = &[
    same("*filter\nCOMMIT\n"),
    same("*filter\n-A INPUT -j DROP\nCOMMIT\n"),
    same("*filter\n-I INPUT 2 -j user\n-I FORWARD -j DNS\nCOMMIT\n"),
    same("*filter\n-D INPUT 1\n-D INPUT -p udp -j user\nCOMMIT\n"),
    same("*filter\n-D INPUT\nCOMMIT\n"),
    same("*filter\n-D user -m comment --comment kept -g DNS\n-A DNS -j ACCEPT\nCOMMIT\n"),
    same("*filter\n-D user -m comment --comment other -g DNS\nCOMMIT\n"),
    same("*filter\n-R INPUT 3 -p icmp -j user\nCOMMIT\n"),
    same("*filter\n:user - [0:0]\n-A user -j DROP\nCOMMIT\n"),
    same("*filter\n:new - [0:0]\n-A new -j DROP\n-A user -j new\nCOMMIT\n"),
    same("*filter\n:INPUT DROP [0:0]\nCOMMIT\n"),
    same("*filter\n:INPUT - [0:0]\nCOMMIT\n"),
    same("*filter\n-F INPUT\n-F user\n-X user\nCOMMIT\n"),
    same("*filter\n-X user\nCOMMIT\n"),
    same("*filter\n-Z INPUT\nCOMMIT\n"),
    same("*filter\n-Z INPUT 2\nCOMMIT\n"),
    same("*filter\n-Z\n-A INPUT -j DROP\nCOMMIT\n"),
    same("*filter\n-E user other\nCOMMIT\n"),
    same("*filter\n-A DNS -j user\nCOMMIT\n"),
    same("*filter\n-C INPUT -p udp -j user\n-P OUTPUT DROP\nCOMMIT\n"),
    same("*filter\n-A user -j DROP\nCOMMIT\n*filter\n-D user -j DROP\n-A DNS\nCOMMIT\n"),
    same("*filter\n-A nowhere -j DROP\nCOMMIT\n"),
];
