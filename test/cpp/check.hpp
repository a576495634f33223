/* check.hpp - CHECK says which line is not as expected, and the program goes on; finish() is what
** main returns. */
#ifndef CHECK_HPP
#define CHECK_HPP

#include <iostream>

inline int failed_checks = 0;
#define CHECK(what)                                                        \
  do {                                                                     \
    if (!(what)) {                                                         \
      failed_checks++;                                                     \
      std::cout << __FILE__ << ':' << __LINE__ << ": " #what << std::endl; \
    }                                                                      \
  } while (0)

inline int finish() {
  if (failed_checks == 0) std::cout << "ok" << std::endl;
  return failed_checks != 0;
}

#endif
