package config

import "strings"

// longestWord bounds the work for long inputs.
const longestWord = 64

// Suggest returns the candidate that word is most likely a misspelling of; ok is false if none is
// similar.
func Suggest(word string, candidates []string) (best string, ok bool) {
	if len(word) > longestWord {
		return "", false
	}
	least := max(2, len(word)/3) + 1
	for _, c := range candidates {
		// at least one letter must match
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < least && d < max(len(word), len(c)) {
			best, least = c, d
		}
	}
	return best, best != ""
}

// distance returns the Damerau-Levenshtein distance of a and b.
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
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
