package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// greeter is the program "greeter NAME PORT…": on each port, by TCP and UDP, it tells who asks that NAME sees its address.
func greeter() {
	name := os.Args[1]
	for _, port := range os.Args[2:] {
		l, err := net.Listen("tcp", ":"+port)
		stopOn(err)
		c, err := net.ListenPacket("udp", ":"+port)
		stopOn(err)
		go greetTCP(l, name)
		go greetUDP(c, name)
	}
	select {}
}

func greetTCP(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		stopOn(err)
		_, _ = fmt.Fprintln(c, sees(name, c.RemoteAddr()))
		_ = c.Close()
	}
}

func greetUDP(c net.PacketConn, name string) {
	for {
		_, from, err := c.ReadFrom(make([]byte, 16))
		stopOn(err)
		_, _ = c.WriteTo([]byte(sees(name, from)+"\n"), from)
	}
}

func sees(name string, from net.Addr) string {
	host, _, _ := net.SplitHostPort(from.String())
	return name + " sees " + host
}

// greet is the program "greet tcp|udp ADDRESS:PORT", which asks a greeter and prints the answer.
func greet() {
	const within = 2 * time.Second
	c, err := net.DialTimeout(os.Args[1], os.Args[2], within)
	stopOn(err)
	stopOn(c.SetDeadline(time.Now().Add(within)))
	if os.Args[1] == "tcp" {
		answer, err := io.ReadAll(c)
		stopOn(err)
		fmt.Print(string(answer))
		return
	}
	_, err = c.Write([]byte("?"))
	stopOn(err)
	answer := make([]byte, 200)
	n, err := c.Read(answer)
	stopOn(err)
	fmt.Print(string(answer[:n]))
}

func stopOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
