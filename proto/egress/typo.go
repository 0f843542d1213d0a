package egress

import (
	"fmt"
	"slices"
	"strings"
)

// keywords returns all words with a meaning of their own, sorted.
func keywords() []string {
	all := []string{Empty}
	for _, w := range words() {
		all = append(all, w.text)
	}
	slices.Sort(all)
	return all
}

// mistyped returns an error for a name of one label that is probably a keyword with a typing error. A
// final dot makes any word a name.
func mistyped(name string) error {
	if strings.Contains(name, ".") {
		return nil
	}
	if problem := foreign(name); problem != "" {
		return fmt.Errorf("%s; for the name, write %s. with a final dot", problem, name)
	}
	for _, word := range keywords() {
		if isClose(name, word) {
			return fmt.Errorf("did you mean %s? For the name, write %s. with a final dot", word, name)
		}
	}
	return nil
}

// foreign returns what is wrong with a word that other firewalls have, empty for other words.
func foreign(word string) string {
	switch {
	case isProtocol(word):
		return fmt.Sprintf("%s is a protocol, write it after a peer: all/%s", word, word)
	case word == "any":
		return "use all for everything"
	case word == "localhost":
		return "a container always reaches itself, use host for the host"
	}
	return ""
}

// needsDot reports whether a name is written with a final dot, since it would be read otherwise.
func needsDot(name string) bool {
	_, isPeer := peerKinds()[name]
	return isPeer || slices.Contains(keywords(), name) || mistyped(name) != nil
}

// isClose reports whether name is word with a typing error: letters exchanged, missing or twice, and in
// long words also two errors. Short words have many names as neighbors: post and node are no errors.
func isClose(name, word string) bool {
	switch {
	case name == word:
		return false
	case len(word) >= 6:
		return distance(name, word) <= 2
	case name[0] == word[0] && len(word) == 4 && len(name) != len(word):
		return distance(name, word) == 1
	}
	return transposed(name, word) || doubled(name, word)
}

// transposed reports whether two letters next to each other were exchanged.
func transposed(name, word string) bool {
	if len(name) != len(word) {
		return false
	}
	for i := range len(word) - 1 {
		if name == word[:i]+word[i+1:i+2]+word[i:i+1]+word[i+2:] {
			return true
		}
	}
	return false
}

// doubled reports whether one letter was written twice.
func doubled(name, word string) bool {
	for i := range len(word) {
		if name == word[:i+1]+word[i:] {
			return true
		}
	}
	return false
}

// distance returns the number of letters to insert, delete, replace or exchange to get from a to b.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}

	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
