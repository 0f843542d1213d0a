package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// echoServer is the program `greeter NAME PORT…`. On each TCP and UDP port it responds with
// "NAME sees ADDRESS", the address of the client.
func echoServer() {
	name := os.Args[1]
	for _, port := range os.Args[2:] {
		l, err := net.Listen("tcp", ":"+port)
		stopOn(err)
		c, err := net.ListenPacket("udp", ":"+port)
		stopOn(err)
		go func() { stopOn(greetTCP(l, name)) }()
		go func() { stopOn(greetUDP(c, name)) }()
	}
	select {}
}

func greetTCP(l net.Listener, name string) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintln(c, sees(name, c.RemoteAddr()))
		_ = c.Close()
	}
}

func greetUDP(c net.PacketConn, name string) error {
	for {
		_, from, err := c.ReadFrom(make([]byte, 16))
		if err != nil {
			return err
		}
		_, _ = c.WriteTo([]byte(sees(name, from)+"\n"), from)
	}
}

func sees(name string, from net.Addr) string {
	host, _, _ := net.SplitHostPort(from.String())
	return name + " sees " + host
}

// callEcho is the program `greet tcp|udp ADDRESS:PORT`. It connects to a greeter and prints the
// response.
func callEcho() {
	answer, err := callGreeter(os.Args[1], os.Args[2], 5*time.Second)
	stopOn(err)
	fmt.Print(answer)
}

func callGreeter(network, address string, within time.Duration) (string, error) {
	deadline := time.Now().Add(within)
	c, err := net.DialTimeout(network, address, within)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(deadline); err != nil {
		return "", err
	}

	if network == "tcp" {
		answer, err := io.ReadAll(c)
		return string(answer), err
	}

	if _, err := c.Write([]byte("?")); err != nil {
		return "", err
	}

	answer := make([]byte, 200)
	n, err := c.Read(answer)
	return string(answer[:n]), err
}

// greetMany is the program greet-many. It connects concurrently to a greeter for each input line
// "tcp|udp ADDRESS:PORT TIME". It prints the responses in the order of the lines; an empty line
// means no response.
func greetMany() {
	var answers []chan string
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		f := strings.Fields(lines.Text())
		within, err := time.ParseDuration(f[2])
		stopOn(err)
		answer := make(chan string, 1)
		answers = append(answers, answer)
		go func() {
			text, _ := callGreeter(f[0], f[1], within)
			answer <- strings.TrimSpace(text)
		}()
	}

	for _, answer := range answers {
		fmt.Println(<-answer)
	}
}

func stopOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
