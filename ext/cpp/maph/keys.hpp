/*
** keys.hpp - the keys that get_many is given, any range of them, and the values that it finds.
*/
#ifndef MAPH_HPP_KEYS
#define MAPH_HPP_KEYS

#ifndef MAPH_HPP
#error "include maph.hpp, of which this is a part"
#endif

#include "convert.hpp"
#include "result.hpp"

#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace maph {

namespace detail {
/* Whether what an iterator points at stays when it goes on: not what it makes for each step, nor
** what it reads from a stream or generator. */
template <class Iterator, class = void> struct stays : std::false_type {};
template <class Iterator>
struct stays<Iterator, std::void_t<typename std::iterator_traits<Iterator>::iterator_category>> {
  using category = typename std::iterator_traits<Iterator>::iterator_category;
  static constexpr bool value =
      std::is_lvalue_reference_v<
          decltype(*std::declval<
                   Iterator &>())> && std::is_base_of_v<std::forward_iterator_tag, category>;
};

/* The keys themselves if they stay, else copies of them. */
template <class Keys> decltype(auto) staying(Keys &keys) {
  if constexpr (stays<decltype(std::begin(keys))>::value)
    return (keys);
  else {
    std::vector<std::string> copies;
    for (auto &&key : keys) copies.emplace_back(std::string_view(key));
    return copies;
  }
}

/* The slices of a range of what converts to a string_view. */
template <class Keys> std::vector<maph_slice> slices(Keys &keys) {
  std::vector<maph_slice> all;
  for (const auto &key : keys) all.push_back(slice(key));
  return all;
}
using values = std::vector<std::optional<std::string_view>>;
inline result<values> finish(int rc, const std::vector<maph_slice> &found) {
  if (rc != MAPH_OK) return code(rc);
  values all;
  all.reserve(found.size());
  for (const maph_slice &s : found)
    all.push_back(s.data ? std::optional<std::string_view>(view(s)) : std::nullopt);
  return all;
}
} /* namespace detail */

} /* namespace maph */

#endif
