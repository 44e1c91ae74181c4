// Package inmem is a world in memory for the demo and the simulations: a
// network of named hosts, and Kafka clusters on it.
//
// Everything blocks on channels, condition variables and timers only, so a
// testing/synctest bubble that holds a whole world advances its clock as soon
// as nobody has work. With the real clock the same world runs the demo.
//
// A host can be killed (its connections are reset, dials to it are refused),
// paused (it neither reads, writes nor accepts, but its kernel still takes
// connections and bytes, as after SIGSTOP) and cut from another (bytes stand
// still in both directions and dials hang, as when packets are dropped).
// Whatever stood in a socket of a paused or cut host is delivered afterwards:
// that is how a zombie's writes arrive late.
package inmem
