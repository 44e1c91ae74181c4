// Package harness is what kafkatest, consultest and javaclient have in common: real programs started as child
// processes that cannot outlive the test, ports that no other test process takes, and a cache for what is slow to
// fetch or build.
//
// Everything under the cache is made once by whoever comes first and then never changed; see [Cached]. The cache is
// os.UserCacheDir()/catamaran, or the directory that the environment variable CATAMARAN_CACHE names.
package harness
